"""The committed rows of the study: what the docs say of them is what the code makes of them."""

from dataclasses import asdict
from pathlib import Path

import pytest

from brodmann.experiments.catalogue import load_experiments
from brodmann.experiments.claims import verdict_rows
from brodmann.experiments.reproduce import config_of, reproduce
from brodmann.experiments.workbench import Workbench
from brodmann.storage import plain, read_json

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = sorted(path.parent for path in (DOCS / "study").rglob("run.json"))
NAMES = [str(folder.relative_to(DOCS / "study")) for folder in RESULTS]


def _config(run):
    experiment = load_experiments()[run["experiment"]]
    return experiment, config_of(experiment, run["preset"], run["changes"])


@pytest.mark.parametrize("folder", RESULTS, ids=NAMES)
def test_the_committed_config_is_the_preset(folder):
    run = read_json(folder / "run.json")
    _, config = _config(run)
    assert plain(asdict(config)) == run["config"]


@pytest.mark.parametrize("folder", RESULTS, ids=NAMES)
def test_the_committed_verdicts_follow_from_the_committed_rows(folder):
    experiment, config = _config(read_json(folder / "run.json"))
    tables = read_json(folder / "results.json")
    verdict = tables.pop("verdict")
    assert verdict_rows(experiment.judge(tables, config), experiment.claims) == verdict


def test_the_numbers_come_out_again(tmp_path):
    """One result that takes seconds: counts and accuracies identical, floats to 1e-4."""
    committed = DOCS / "study" / "four-operators" / "dcsn-figure-2"
    experiment, _ = _config(read_json(committed / "run.json"))
    bench = Workbench("four-operators", tmp_path / "cache")
    folder = reproduce(experiment, "cpu", bench, tmp_path / "out")
    before, after = (read_json(one / "results.json") for one in (committed, folder))
    assert [row["verdict"] for row in after["verdict"]] == [
        row["verdict"] for row in before["verdict"]
    ]
    for old, new in zip(before["cells"], after["cells"], strict=True):
        for key, value in old.items():
            if isinstance(value, float):
                assert new[key] == pytest.approx(value, rel=1e-4, abs=1e-4)
            else:
                assert new[key] == value
