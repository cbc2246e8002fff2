"""cnl-table-2, cnl-table-5 and cnl-figure-5 on a tiny model; a planted one; and judged."""

import pytest

from brodmann.data import load_examples
from brodmann.experiments.cells import find, only
from brodmann.experiments.cnl import figure_5, table_2, table_5
from brodmann.experiments.code_sets import measurable
from brodmann.experiments.experiment import EXPERIMENTS
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from tests.experiments.benches import accuracy, contrast, tiny_bench
from tests.experiments.maps import COMMON, OTHER, PLANTED, write_capabilities
from tests.tiny import planted_model


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("bench"))


def run(name, bench):
    experiment = EXPERIMENTS.get(name)
    config = experiment.presets["smoke"]
    tables = experiment.run(config, bench)
    judged = experiment.judge(tables, config)
    assert [claim for claim, _, _ in judged] == list(experiment.claims)
    return config, tables


def test_the_three_share_their_trainings(bench):
    config, tables = run("cnl-table-2", bench)
    rows, columns = ("Random", "W/o located", "Located"), (*config.data, "Avg.")
    cells = {(one["row"], one["column"]) for one in find(tables["cells"], block="σ=2, epoch 1")}
    assert {(row, column) for row in rows for column in columns} <= cells
    gained = only(tables["cells"], block="All blocks", row="Located - Base", column="Avg.")
    changes = [
        only(tables["cells"], block="σ=2, epoch 1", row="Located", column=name)["value"]
        - only(tables["cells"], block="Base", row="Base", column=name)["value"]
        for name in config.data
    ]
    assert gained["value"] == pytest.approx(sum(changes) / len(changes))
    trained = sorted(path.name for path in bench.cache.iterdir())
    _, tables = run("cnl-table-5", bench)
    assert sorted(path.name for path in bench.cache.iterdir()) == trained
    for column in ("random", "w/o located", "located"):
        assert only(tables["cells"], block="Other datasets", row="σ=2", column=column) is not None
    located = only(tables["cells"], block="Other datasets", row="σ=2", column="located")
    other = {"GSM8K": "Emotion", "Emotion": "GSM8K"}
    by_hand = []
    for one in tables["accuracies"]:
        if one["row"] == "Located":
            assert one["column"] == other[one["trained_on"]]
            test = Sample(config.data[one["column"]], "test", config.items[one["column"]])
            by_hand.append(one["value"] - bench.answers(test).accuracy)
    assert located["value"] == pytest.approx(sum(by_hand) / 2)
    config, tables = run("cnl-figure-5", bench)
    for block in ("Enhance", "Erase"):
        for row in config.data:
            for column in config.data:
                assert only(tables["cells"], block=block, row=row, column=column) is not None
    changes = [
        only(tables["cells"], block="Enhance", row=row, column=column)["value"]
        for row in config.data
        for column in config.data
        if config.families[row] == config.families[column]
    ]
    own = only(tables["cells"], block="Enhance", row="All", column=figure_5.OWN)
    assert own["value"] == pytest.approx(sum(changes) / len(changes))


def test_erasing_planted_neurons_harms_their_own_data_set(tmp_path):
    found = planted_model(n_neurons=600, planted=PLANTED, other=OTHER, common=COMMON)
    for part in (found.hf, found.tokenizer):
        part.save_pretrained(tmp_path / "model")
    words = write_capabilities(tmp_path / "data")
    data = dict(one.split("=", 1) for one in words.split(","))
    for spec in data.values():
        assert load_examples(spec, "test", 8)
    config = figure_5.Matrices(
        data=data,
        examples=dict.fromkeys(data, 16),
        method="dcsn",
        others={},
        items=dict.fromkeys(data, 8),
        sigmas=(6,),
        epochs=(1,),
        n_train=4,
        rates={"": {"default": (1e-5,)}},
        families={name: name for name in data},
        draws=2,
    )
    bench = Workbench(str(tmp_path / "model"), tmp_path / "cache")
    tables = figure_5.run(config, bench)
    verdicts = {claim: verdict for claim, verdict, _ in figure_5.judge(tables, config)}
    assert verdicts["erased_own"] == "supported"
    assert verdicts["erased_own_margin"] == "supported"
    own = [only(tables["cells"], block="Erase", row=name, column=name) for name in data]
    across = only(tables["cells"], block="Erase", row="All", column=figure_5.OWN_OTHER)
    assert across["own"] == pytest.approx(sum(one["value"] for one in own) / 2, abs=0.2)


def test_programs_are_run_only_with_permission(bench):
    tests = {
        "HumanEval": Sample("humaneval:source=sample", "test", 2),
        "GSM8K": Sample("gsm8k:source=sample", "test", 2),
    }
    left, notes = measurable(bench, tests)
    assert list(left) == ["GSM8K"]
    assert [note["column"] for note in notes] == ["HumanEval"]
    allowed = Workbench(bench.name, bench.cache, allow_code_execution=True)
    assert measurable(allowed, tests) == (tests, [])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "supported"),
        (-0.2, -0.1, "not supported"),
        (-0.1, 0.1, "undecided at this size"),
    ],
)
def test_intervals_decide(low, high, verdict):
    base = [accuracy("Base", "Base", "GSM8K")]
    cells = [contrast("All blocks", f"Located - {row}", "Avg.", low, high)
             for row in ("Random", "W/o located")]  # fmt: skip
    judged = table_2.judge({"cells": [*base, *cells]}, table_2.PRESETS["cpu"])
    assert [one for _, one, _ in judged] == [verdict] * 2
    cells = [contrast("Other datasets", "all σ", column, low, high)
             for column in ("located", "located - random", "located - w/o located")]  # fmt: skip
    tables = {"cells": cells, "accuracies": base}
    assert [v for _, v, _ in table_5.judge(tables, table_5.PRESETS["cpu"])] == [verdict] * 3
    cells = [contrast(block, "All", figure_5.OWN_OTHER, *ends)
             for block, ends in (("Enhance", (low, high)), ("Erase", (-high, -low)))]  # fmt: skip
    cells += [contrast(block, "All", figure_5.OWN_MORE, 0.5 + low, 0.5 + high)
              for block in ("Enhance", "Erase")]  # fmt: skip
    tables = {"cells": [*base, *cells], "accuracies": base}
    assert [v for _, v, _ in figure_5.judge(tables, figure_5.PRESETS["cpu"])] == [verdict] * 4


def test_nothing_is_raised_more_than_others_by_what_lowers_it():
    base = [accuracy("Base", "Base", "GSM8K")]
    harm, more = (-0.3, -0.2), (0.1, 0.2)
    rows = {"Located - Base": harm, "Located - Random": more, "Located - W/o located": more}
    cells = [contrast("All blocks", row, "Avg.", *ends) for row, ends in rows.items()]
    judged = table_2.judge({"cells": [*base, *cells]}, table_2.PRESETS["cpu"])
    assert [one for _, one, _ in judged] == ["not supported"] * 2
    columns = {"located": harm, "located - random": more, "located - w/o located": more}
    cells = [contrast("Other datasets", "all σ", *one) for one in _flat(columns)]
    judged = table_5.judge({"cells": cells, "accuracies": base}, table_5.PRESETS["cpu"])
    assert [one for _, one, _ in judged] == ["not supported"] * 3
    columns = {figure_5.OWN: harm, figure_5.OWN_OTHER: more}
    cells = [contrast("Enhance", "All", *one) for one in _flat(columns)]
    tables = {"cells": [*base, *cells], "accuracies": base}
    assert figure_5.judge(tables, figure_5.PRESETS["cpu"])[0][1] == "not supported"


def _flat(columns):
    return [(column, *ends) for column, ends in columns.items()]
