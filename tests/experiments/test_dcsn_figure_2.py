"""DCSN Figure 2: activity of sets, against one example at a time."""

import pytest
import torch

from brodmann.experiments.cells import only
from brodmann.experiments.dcsn.activation_ratio import magnitudes
from brodmann.experiments.dcsn.figure_2 import (
    CLAIMS,
    ELSEWHERE,
    PRESETS,
    contrast_cells,
    judge,
    run,
)
from brodmann.experiments.dcsn.operator_sets import by_operator, operator_sets
from brodmann.experiments.sample import Sample
from brodmann.localize.inspection import answer_activations
from tests.experiments.operators import SIGNS, check_cells, places, tiny_bench

CONFIG = PRESETS["smoke"]
MUL = Sample("arithmetic/mul:template=plain,max=12", "test", 6)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("figure-2"))


@pytest.fixture(scope="module")
def tables(bench):
    return run(CONFIG, bench)


def test_every_cell_is_there(tables):
    check_cells(tables["cells"])
    wanted = {(row, column) for row in SIGNS for column in (*SIGNS, "other")}
    for block in ("mean |z|", "mean C", "mean |z| (contrastive)", "mean C (contrastive)"):
        assert places(tables["cells"], block) == wanted
    assert {name for name, _, _ in judge(tables, CONFIG)} == set(CLAIMS)


def test_values_are_means_over_examples_and_neurons(tables, bench):
    neurons = by_operator(operator_sets(bench, CONFIG.locating)["raw"])["div"]
    examples = bench.examples(MUL)
    z = answer_activations(bench.model, list(neurons), examples).abs().mean().item()
    cell = only(tables["cells"], block="mean |z|", row="*", column="/")
    assert cell["value"] == pytest.approx(z, rel=1e-5)
    assert cell["neurons"] == len(neurons)
    c = bench.scores(MUL).values[neurons.mask].mean().item()
    assert only(tables["cells"], block="mean C", row="*", column="/")["value"] == pytest.approx(
        c, rel=1e-5, abs=1e-7
    )


def test_chance_is_that_of_sets_matched_by_layer(tables, bench):
    neurons = by_operator(operator_sets(bench, CONFIG.locating)["raw"])["div"]
    mean = torch.stack(list(magnitudes(bench.model, bench.examples(MUL)))).mean(0)
    expected = (mean.mean(1) * neurons.counts).sum() / len(neurons)
    cell = only(tables["cells"], block="mean |z|", row="*", column="/")
    assert cell["chance"] == pytest.approx(expected.item(), rel=1e-5)


def _rows(active, n=12):
    """active: (asked, whose set) -> level."""
    names = ("add", "sub", "mul", "div")
    return {
        asked: [
            {"expression": str(i)}
            | {"z": {name: active.get((asked, name), 1.0) + 0.01 * (i % 3) for name in names}}
            for i in range(n)
        ]
        for asked in names
    }


def _verdicts(active):
    cells = []
    rows = _rows(active)
    for measure, block in (("z", "mean |z|"), ("c", "mean C")):
        given = {name: [{**row, measure: row["z"]} for row in own] for name, own in rows.items()}
        cells += contrast_cells(given, measure, f"{block}, contrasts", "activation")
    return {name: verdict for name, verdict, _ in judge({"cells": cells}, CONFIG)}, cells


INVERSES = [("add", "sub"), ("sub", "add"), ("mul", "div"), ("div", "mul")]


def test_verdicts():
    found, cells = _verdicts(dict.fromkeys(INVERSES, 3.0))
    assert set(found.values()) == {"supported"}
    contrast = only(cells, block="mean |z|, contrasts", row="+", column=ELSEWHERE)
    assert contrast["value"] == pytest.approx(2.0)
    found, _ = _verdicts(dict.fromkeys(INVERSES, 0.5))
    assert set(found.values()) == {"not supported"}


def test_a_set_that_is_active_on_everything_is_told_apart():
    """The set of - answers to every expression: not because of the inverse."""
    always = {(asked, "sub"): 9.0 for asked in ("add", "sub", "mul", "div")}
    _, cells = _verdicts(always)
    place = {"block": "mean |z|, contrasts", "row": "+"}
    assert only(cells, **place, column="inverse - other pair")["low"] > 7
    assert only(cells, **place, column=ELSEWHERE)["value"] == pytest.approx(0.0, abs=1e-9)
