"""dcsn.txt Tables 2, 6 and 12 (and those that share their code) on a tiny model, and judged."""

from dataclasses import replace

import pytest

from brodmann.evaluate import evaluate, random_sets
from brodmann.experiments.cells import find, only
from brodmann.experiments.dcsn import table_2, table_6, table_12
from brodmann.experiments.erasing import erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS
from brodmann.interventions import erased
from tests.experiments.benches import accuracy, contrast, tiny_bench


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


def holds(cells, block, rows, columns):
    for row in rows:
        for column in columns:
            found = only(cells, block=block, row=row, column=column)
            assert found is not None, (block, row, column)
            assert found["value"] is not None


def test_table_2_has_every_cell_and_erases_what_it_says(bench):
    config, tables = run("dcsn-table-2", bench)
    cells, columns = tables["cells"], ("+", "-", "Avg.")
    holds(cells, "Enhancement", ("Original", "FT-Random", "FT-w/o Cap", "FT-Cap"), columns)
    holds(cells, "Erasure", ("Original", "Deactivate-Random", "Deactivate-Cap"), columns)
    scores, neurons = table_2.located(config, bench)["add"]
    tenth = neurons.strongest(scores, 0.1)
    examples = bench.examples(config.test("add"))
    with erased(bench.model, tenth):
        by_hand = evaluate(bench.model, examples, progress=False)
    found = only(cells, block="Erasure", row="Deactivate-Cap", column="+")
    assert found["margin"] == pytest.approx(by_hand.margin, abs=1e-5)
    drawn = []
    for one in random_sets(tenth, config.draws):
        with erased(bench.model, one):
            drawn.append(evaluate(bench.model, examples, progress=False).margin)
    beyond = only(cells, block="Erasure", row=table_2.BEYOND_RANDOM, column="+")
    expected = by_hand.margin - sum(drawn) / len(drawn)
    assert beyond["margin_change"] == pytest.approx(expected, abs=1e-5)
    by_norm = erase_and_compare(bench, tenth, config.test("add"), draws=0,
                                norm_draws=config.norm_draws)  # fmt: skip
    row = "Deactivate-Cap - Deactivate-Random, by norm"
    beyond = only(cells, block="Erasure", row=row, column="+")
    mean = sum(one.margin for one in by_norm.by_norm) / config.norm_draws
    assert beyond["margin_change"] == pytest.approx(by_hand.margin - mean, abs=1e-5)
    assert only(cells, block="Erasure", row=row, column="Avg.")["extra"]
    tuned = only(cells, block="Enhancement", row="FT-Cap", column="+")
    assert tuned["neurons"] == len(neurons)
    base = only(cells, block="Enhancement", row="Original", column="+")
    assert tuned["margin"] != base["margin"]


def test_a_rule_that_selects_nothing_leaves_the_claims_open(bench):
    config = replace(table_2.PRESETS["smoke"], sigma=1000, operators=("add",))
    tables = table_2.run(config, bench)
    for block, row in (("Enhancement", "FT-Cap"), ("Erasure", "Deactivate-Cap")):
        assert [one["value"] for one in find(tables["cells"], block=block, row=row)] == [None, None]
    verdicts = {verdict for _, verdict, _ in table_2.judge(tables, config)}
    assert verdicts == {"undecided at this size"}


def test_table_12_sweeps_and_table_6_carries_over(bench):
    _, tables = run("dcsn-table-12", bench)
    holds(tables["cells"], "Enhancement", ("Avg.",), ("2", "3"))
    holds(tables["cells"], "Erasure", ("Avg.",), ("2", "3"))
    _, tables = run("dcsn-table-6", bench)
    rows = ("Original", "FT-Random", "O-LoRA", "FT-All", "FT-Cap")
    holds(tables["cells"], "+", rows, ("+", "+&-", "+&*", "+&/"))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "supported"),
        (-0.2, -0.1, "not supported"),
        (-0.1, 0.1, "undecided at this size"),
    ],
)
def test_intervals_decide_the_claims_of_table_2(low, high, verdict):
    cells = [accuracy("Enhancement", row, "+") for row in ("Original", "FT-Cap")]
    cells.append(accuracy("Erasure", "Original", "+"))
    cells += [
        contrast("Enhancement", row, "Avg.", low, high)
        for row in (table_2.OVER_RANDOM, table_2.OVER_REST)
    ]
    cells.append(contrast("Erasure", table_2.BEYOND_RANDOM, "Avg.", -high, -low))
    judged = table_2.judge({"cells": cells}, table_2.PRESETS["cpu"])
    assert [one for _, one, _ in judged] == [verdict] * 3


def test_the_best_sigma_has_to_beat_every_other():
    config = replace(table_12.PRESETS["cpu"], sigmas=(3, 6, 9))
    base = [accuracy(block, "Original", "3") for block in ("Enhancement", "Erasure")]

    def verdict(first, second):
        rows = [
            contrast("Enhancement", "σ=6 - σ", column, low, low + 0.1, p)
            for column, (low, p) in zip(("3", "9"), (first, second), strict=True)
        ]
        return table_12.judge({"cells": [*base, *rows]}, config)[0][1]

    assert verdict((0.1, 0.01), (0.1, 0.01)) == "supported"
    assert verdict((0.1, 0.01), (0.0, 0.3)) == "undecided at this size"
    assert verdict((0.1, 0.01), (-0.3, 0.01)) == "not supported"


def test_a_fit_may_be_a_little_worse_and_no_more():
    config = table_6.PRESETS["cpu"]
    base = [accuracy("+", row, column) for row in ("Original", "FT-All", "FT-Cap")
            for column in ("+", "+&-")]  # fmt: skip

    def verdict(low, high):
        found = contrast("All data sets", "FT-Cap - FT-All", "Fit", low, high)
        return table_6.judge({"cells": [*base, found]}, config)[1][1]

    assert verdict(-0.04, 0.1) == "supported"
    assert verdict(-0.3, -0.1) == "not supported"
    assert verdict(-0.1, 0.1) == "undecided at this size"


def test_nothing_is_raised_more_than_others_by_what_lowers_it():
    config = replace(table_12.PRESETS["cpu"], sigmas=(3, 6))
    cells = [accuracy(block, "Original", "3") for block in ("Enhancement", "Erasure")]
    cells += [
        contrast("Enhancement", "σ=6 - σ", "3", 0.1, 0.2, 0.01),
        contrast("Enhancement", table_2.OVER_RANDOM, "6", 0.1, 0.2),
    ]
    harm = contrast("Enhancement", table_12.OVER_ORIGINAL, "6", -0.3, -0.2)
    for more, verdict in (([], "supported"), ([harm], "not supported")):
        judged = table_12.judge({"cells": [*cells, *more]}, config)
        assert [judged[0][1], judged[2][1]] == [verdict] * 2
    cells = [accuracy("+", row, column) for row in ("Original", "FT-All", "FT-Random", "FT-Cap")
             for column in ("+", "+&-")]  # fmt: skip
    for column in ("Fit", "Others"):
        cells.append(contrast("All data sets", "FT-Cap - Original", column, -0.3, -0.2))
        for row in ("FT-All", "FT-Random"):
            cells.append(contrast("All data sets", f"FT-Cap - {row}", column, 0.1, 0.2))
    judged = table_6.judge({"cells": cells}, table_6.PRESETS["cpu"])
    assert [one for _, one, _ in judged] == ["not supported"] * 3
