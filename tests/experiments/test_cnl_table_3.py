"""cnl-table-3: erasing planted neurons takes their answers, random ones do not."""

import pytest

from brodmann.evaluate import collateral, evaluate, neutral_texts, random_sets
from brodmann.experiments.cells import find, only
from brodmann.experiments.cnl.halves import locate_halves
from brodmann.experiments.cnl.table_3 import (
    BEYOND,
    BEYOND_NORM,
    CLAIMS,
    DOSE,
    MARGIN,
    Table3,
    judge,
    run,
)
from brodmann.experiments.erasing import erase_and_compare
from brodmann.experiments.sample import Sample
from brodmann.interventions import erased
from tests.experiments.cnl_bench import LOCATING, OWN, planted_bench, planted_data, written

ITEMS = {"sevens": 6, "letters": 4}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = planted_data(tmp_path_factory.mktemp("data"))
    return Table3(data=data, items=ITEMS, sigmas=(3, 4), draws=3, norm_draws=2, **LOCATING)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return planted_bench(tmp_path_factory.mktemp("cnl"))


@pytest.fixture(scope="module")
def tables(config, bench):
    return run(config, bench)


def test_planted_neurons_carry_the_answers_and_random_ones_do_not(tables, config):
    cells = tables["cells"]
    for name in (*ITEMS, "Avg."):
        values = [
            only(cells, block="σ=3", row=row, column=name)["value"]
            for row in ("Base", "Random", "Located")
        ]
        assert values[0] == 1 and values[1] == pytest.approx(1) and values[2] <= 0.5
        beyond = only(cells, block=MARGIN + "σ=3", row=BEYOND, column=name)
        assert beyond["high"] < -1 and beyond["unit"] == "margin" and beyond["extra"]
        by_norm = only(cells, block=MARGIN + "σ=3", row=BEYOND_NORM, column=name)
        assert by_norm["high"] < -1 and by_norm["unit"] == "margin" and by_norm["extra"]
    assert only(cells, block="σ=3", row="Located", column="sevens")["neurons"] == len(OWN)
    assert only(cells, block="σ=3", row="Located", column="sevens")["rank"] == 1
    judged = {name: (verdict, why) for name, verdict, why in judge(tables, config)}
    assert set(judged) == set(CLAIMS)
    assert judged["harm"][0] == "supported" and "KL" in judged["harm"][1]
    assert judged["dose"][0] == "undecided at this size"  # both thresholds select the same neurons


def test_cells_are_what_the_library_measures(tables, config, bench):
    neurons = locate_halves(config, bench)["sevens"].scores.select(3)
    assert set(neurons) == set(OWN)
    examples = bench.examples(Sample(config.data["sevens"], "test", 6))
    before = evaluate(bench.model, examples)
    drawn = []
    for one in random_sets(neurons, 3):
        with erased(bench.model, one):
            drawn.append(evaluate(bench.model, examples))
    with erased(bench.model, neurons):
        after = evaluate(bench.model, examples)
    cells = tables["cells"]
    random = only(cells, block="σ=3", row="Random", column="sevens")
    assert random["value"] == pytest.approx(sum(one.accuracy for one in drawn) / 3)
    assert random["margin_worst"] == pytest.approx(min(one.margin for one in drawn), abs=1e-5)
    change = only(cells, block=MARGIN + "σ=3", row="Located - Base", column="sevens")
    assert change["value"] == pytest.approx(after.margin - before.margin, abs=1e-5)
    beyond = only(cells, block=MARGIN + "σ=3", row=BEYOND, column="sevens")
    expected = after.margin - sum(one.margin for one in drawn) / 3
    assert beyond["value"] == pytest.approx(expected, abs=1e-5)
    beside = erase_and_compare(bench, neurons, Sample(config.data["sevens"], "test", 6), draws=0,
                               norm_draws=2)  # fmt: skip
    by_norm = only(cells, block=MARGIN + "σ=3", row=BEYOND_NORM, column="sevens")
    expected = after.margin - sum(one.margin for one in beside.by_norm) / 2
    assert by_norm["value"] == pytest.approx(expected, abs=1e-5)
    other = only(cells, block=MARGIN + "σ=3", row=BEYOND, column="letters")
    mean = only(cells, block=MARGIN + "σ=3", row=BEYOND, column="Avg.")
    assert mean["value"] == pytest.approx((beyond["value"] + other["value"]) / 2)
    read = collateral(bench.model, lambda: erased(bench.model, neurons), neutral_texts())
    found = only(cells, block="Neutral text, σ=3", row="Located", column="sevens")
    assert found["value"] == pytest.approx(read.kl, abs=1e-5)
    assert found["perplexity_ratio"] == pytest.approx(
        read.perplexity_after / read.perplexity_before, rel=1e-5
    )


def test_empty_sets_are_told_and_decide_nothing(config, bench):
    empty = Table3(data=config.data, items=ITEMS, sigmas=(3, 1000), draws=2, **LOCATING)
    with pytest.warns(UserWarning, match="sigma"):
        tables = run(empty, bench)
    for row in ("Random", "Located"):
        for name in (*ITEMS, "Avg."):
            assert only(tables["cells"], block="σ=1000", row=row, column=name)["value"] is None
    verdicts = {name: verdict for name, verdict, _ in judge(tables, empty)}
    assert verdicts == {"harm": "undecided at this size", "dose": "undecided at this size"}


@pytest.mark.parametrize(
    ("beyond", "dose", "accuracy", "expected"),
    [
        ([(-3, -1), (-2, -1)], (0.5, 1), (0.6, 0.9), ["supported"] * 2),
        ([(-3, -1), (0.1, 1)], (-1, -0.5), (0.6, 0.9), ["not supported"] * 2),
        ([(-3, -1), (-1, 1)], (-1, 1), (0.6, 0.9), ["undecided at this size"] * 2),
        ([(-3, -1), (-2, -1)], (0.5, 1), (0, 0.1), ["supported"] * 2),  # a margin has no floor
    ],
)
def test_judge_compares_intervals_of_margins(beyond, dose, accuracy, expected, config):
    cells = [
        written(BEYOND, "Avg.", sum(ends) / 2, *ends, f"{MARGIN}σ={sigma}")
        for sigma, ends in zip((3, 4), beyond, strict=True)
    ]
    cells.append(written("Located", "Avg.", sum(dose) / 2, *dose, DOSE))
    cells.append(written("Base", "sevens", sum(accuracy) / 2, *accuracy, "σ=3", chance=0.2))
    judged = judge({"cells": cells}, config)
    assert [verdict for _, verdict, _ in judged] == expected


def test_the_papers_cells_are_there_and_ours_are_marked(tables):
    printed = [one for one in tables["cells"] if not one.get("extra")]
    assert {one["row"] for one in printed} == {"Base", "Random", "Located"}
    assert {one["block"] for one in printed} == {"σ=3", "σ=4"}
    assert len(printed) == 2 * 3 * 3
    assert len(find(tables["cells"], unit="nats")) == 2 * 2 * 2
