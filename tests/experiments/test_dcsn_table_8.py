"""DCSN Table 8: NeFT's sets and DCSN's, at equal sizes."""

import math

import pytest

from brodmann.experiments.cells import only
from brodmann.experiments.dcsn.operator_sets import operator_sets
from brodmann.experiments.dcsn.table_8 import (
    CLAIMS,
    PRESETS,
    judge,
    likeness_rows,
    run,
    table_cells,
)
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.tune_once import tune_once
from brodmann.localize.neft import neft
from brodmann.models import load_model
from brodmann.neurons import NeuronSet
from tests.experiments.operators import check_cells, places, tiny_bench

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("table-8"))


@pytest.fixture(scope="module")
def tables(bench):
    return run(CONFIG, bench)


def test_every_cell_of_the_paper_is_there(tables):
    check_cells(tables["cells"])
    wanted = {(row, column) for row in ("NeFT", "DCSN") for column in ("Cohesion", "Separability")}
    assert wanted <= places(tables["cells"], "DG")
    assert PRESETS["cpu"].tasks == PRESETS["paper"].tasks == ("DG", "MQ", "TF")
    assert {name for name, _, _ in judge(tables, CONFIG)} == set(CLAIMS)


def test_sizes_are_equal_and_nefts_sets_are_those_of_its_fine_tunes(tables, bench):
    by = {(r["task"], r["method"], r["kind"], r["a"], r["b"]): r for r in tables["pairs"]}
    for (task, method, *place), row in by.items():
        if method == "NeFT":
            other = by[(task, "DCSN", *place)]
            assert (row["neurons"], row["neurons_b"]) == (other["neurons"], other["neurons_b"])
    ours = {one.capability: one.halves for one in operator_sets(bench, CONFIG.locating)["raw"]}
    found = []
    for half, own in zip(("1/2", "2/2"), ours["mul"], strict=True):
        sample = Sample(f"arithmetic/mul:template=plain,max=12,part={half}", "train", 8)
        tuned = load_model(bench.name)
        training = Training(
            method="full", sample=sample, neurons=None, lr=CONFIG.lr, steps=2, batch_size=4
        )
        tune_once(tuned, training, bench.examples(sample))
        found.append(set(neft(bench.model, tuned.hf).top(len(own))))
    value = by["DG", "NeFT", "Cohesion", "*", "*"]["value"]
    assert value == pytest.approx(len(found[0] & found[1]) / max(map(len, found)))


def _sets(shared):
    """Two samples' sets of 10 neurons of which so many are the same; operators share none."""
    sets = {}
    for number, name in enumerate(("add", "sub", "mul", "div")):
        first = [(number, i) for i in range(10)]
        second = [(number, i) for i in range(10 - shared, 20 - shared)]
        sets[name] = tuple(NeuronSet.from_pairs(one, 4, 40) for one in (first, second))
    return sets


def _judged(ours, theirs):
    rows = []
    for task in ("DG", "MQ", "TF"):
        rows += [{"task": task, "method": "DCSN", **row} for row in likeness_rows(_sets(ours))]
        rows += [{"task": task, "method": "NeFT", **row} for row in likeness_rows(_sets(theirs))]
    cells = table_cells(rows)
    assert only(cells, block="MQ", row="DCSN", column="Cohesion")["value"] == pytest.approx(
        ours / 10
    )
    return {name: verdict for name, verdict, _ in judge({"cells": cells}, CONFIG)}


def test_verdicts():
    assert _judged(9, 4) == {"cohesion": "supported", "separability": "undecided at this size"}
    assert _judged(4, 9)["cohesion"] == "not supported"


def test_empty_sets_are_told():
    empty = {name: (NeuronSet.from_pairs([], 2, 5),) * 2 for name in ("add", "sub", "mul", "div")}
    rows = [
        {"task": "DG", "method": method, **row}
        for method in ("DCSN", "NeFT")
        for row in likeness_rows(empty)
    ]
    assert not any(isinstance(row["value"], float) and math.isnan(row["value"]) for row in rows)
    cells = table_cells(rows)
    assert only(cells, block="DG", row="DCSN", column="Cohesion")["value"] is None
    verdicts = {verdict for _, verdict, _ in judge({"cells": cells}, CONFIG)}
    assert verdicts == {"undecided at this size"}


def test_two_halves_of_one_pair_of_operators_are_one_comparison():
    def row(task, method, a, b, value):
        named = {"task": task, "method": method, "kind": "Separability", "a": a, "b": b}
        return named | {"value": value, "chance_layer_matched": 0.0, "neurons": 5}

    values = {"NeFT": (0.3, 0.5, 0.1), "DCSN": (0.2, 0.6, 0.4)}
    pairs = ("+", "-"), ("+", "*"), ("-", "*")

    def cells(times):
        rows = [
            row("DG", method, *pair, value)
            for method, found in values.items()
            for pair, value in zip(pairs, found, strict=True)
            for _ in range(times)
        ]
        return [one for one in table_cells(rows) if one["column"] == "Separability"]

    for twice, once in zip(cells(2), cells(1), strict=True):
        assert twice == pytest.approx(once)
    assert {one["n"] for one in cells(2) if one["row"] == "DCSN"} == {3}
