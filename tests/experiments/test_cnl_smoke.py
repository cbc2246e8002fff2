"""Every CNL experiment runs on the random model, and says something of each of its claims."""

import math

import pytest

from brodmann.experiments.catalogue import find_experiment
from brodmann.experiments.cells import find, only
from brodmann.experiments.workbench import Workbench
from brodmann.storage import plain

FIVE = ("GSM8K", "Emotion", "Code25K", "Meta_Math", "Imdb")
THREE = ("GSM8K", "Emotion", "Code25K", "Avg.")
CELLS = {
    "cnl-table-1": [
        ("Overlap", row, name) for row in ("overlap", "IoU", "neuron") for name in FIVE
    ],
    "cnl-table-3": [
        (f"σ={sigma}", row, name)
        for sigma in ("2", "2.5", "3")
        for row in ("Base", "Random", "Located")
        for name in THREE
    ],
    "cnl-figure-4": [("Overlap", "GSM8K", name) for name in FIVE[1:]],
    "cnl-figure-6": [(name, "cohesion", "4") for name in FIVE],
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Workbench("tiny-random", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", CELLS)
def test_smoke(name, bench):
    experiment = find_experiment(name)
    config = experiment.presets["smoke"]
    tables = experiment.run(config, bench)
    for block, row, column in CELLS[name]:
        found = only(tables["cells"], block=block, row=row, column=column)
        assert found is not None, (block, row, column)
        assert found["value"] is None or math.isfinite(found["value"])
        assert found["value"] is not None or found.get("neurons") in (None, 0, [0, 0])
    judged = experiment.judge(tables, config)
    assert [claim for claim, _, _ in judged] == list(experiment.claims)
    assert plain(tables["cells"]) == tables["cells"]
    assert len(find(tables["located"])) == len(config.data)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_other_presets_name_what_they_read(name, preset):
    config = find_experiment(name).presets[preset]
    assert set(config.data) <= set(config.examples)
    assert config.method == "cnl" and config.sigma == 6
    if preset == "paper":
        assert config.examples["GSM8K"] == 1600 and config.steps == 20
