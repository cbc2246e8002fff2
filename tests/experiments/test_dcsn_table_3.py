"""DCSN Tables 3 and 11: cohesion and separability, against sets selected by hand."""

import math

import pytest

from brodmann.experiments.cells import OPERATORS, only
from brodmann.experiments.dcsn.likeness import Side, likeness, likeness_cell, mean_of
from brodmann.experiments.dcsn.operator_sets import SMOKE, spec_of
from brodmann.experiments.dcsn.table_3 import CLAIMS, PAIRS, PRESETS, judge, run
from brodmann.experiments.experiment import EXPERIMENTS
from brodmann.experiments.sample import Sample
from brodmann.neurons import NeuronSet
from tests.experiments.operators import SIGNS, check_cells, places, tiny_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("table-3"))


@pytest.fixture(scope="module")
def tables(bench):
    return run(PRESETS["smoke"], bench)


def test_every_cell_of_the_paper_is_there(tables):
    cells = tables["cells"]
    check_cells(cells)
    for suffix in ("", " (contrastive)"):
        for row in ("DG", "TF", "MQ", "CH"):
            wanted = {(row, column) for column in (*SIGNS, "Avg.")}
            assert wanted <= places(cells, f"Cohesion{suffix}")
            assert wanted <= places(cells, f"Specificity{suffix}")
        for row in ("DG", "MQ", "TF", "CH", "EN"):
            wanted = {(row, column) for column in (*PAIRS, "Avg.")}
            assert wanted <= places(cells, f"Separability{suffix}")
    assert all(cell["extra"] for cell in cells if "contrastive" in cell["block"])
    assert {name for name, _, _ in judge(tables, PRESETS["smoke"])} == set(CLAIMS)


def _halves(bench, operator, **way):
    return [
        bench.scores(Sample(spec_of(operator, SMOKE.options, half=half, **way), "train", 8))
        for half in ("1/2", "2/2")
    ]


def test_cohesion_is_that_of_two_disjoint_samples(tables, bench):
    found = []
    for name, sign in OPERATORS.items():
        first, second = (set(one.select(2)) for one in _halves(bench, name, task="mq"))
        expected = len(first & second) / max(len(first), len(second))
        cell = only(tables["cells"], block="Cohesion", row="MQ", column=sign)
        assert cell["value"] == pytest.approx(expected)
        assert (cell["neurons"], cell["neurons_b"], cell["n"]) == (len(first), len(second), 8)
        assert cell["chance"] == pytest.approx(
            len(first) * len(second) / 144 / max(len(first), len(second))
        )
        found.append(expected)
    average = only(tables["cells"], block="Cohesion", row="MQ", column="Avg.")
    assert average["value"] == pytest.approx(sum(found) / 4)


def test_separability_is_that_of_sets_of_both_samples(tables, bench):
    whole = {}
    for name in OPERATORS:
        first, second = _halves(bench, name, task="mq", lang="zh")
        mean = (first.values.double() + second.values.double()) / 2
        whole[name] = (mean - mean.mean()).abs() > 2 * mean.std(correction=0)
    shared = int((whole["mul"] & whole["div"]).sum())
    larger = max(int(whole["mul"].sum()), int(whole["div"].sum()))
    cell = only(tables["cells"], block="Separability", row="CH", column="*&/")
    assert cell["value"] == pytest.approx(shared / larger)
    assert cell["n"] == 16


def test_specificity_is_within_minus_across(tables, bench):
    halves = {name: [set(s.select(2)) for s in _halves(bench, name)] for name in OPERATORS}

    def alike(a, b):
        return len(a & b) / max(len(a), len(b))

    first, second = halves["sub"]
    across = [alike(first, halves[o][1]) for o in OPERATORS if o != "sub"]
    across += [alike(halves[o][0], second) for o in OPERATORS if o != "sub"]
    cell = only(tables["cells"], block="Specificity", row="DG", column="-")
    assert cell["value"] == pytest.approx(alike(first, second) - sum(across) / 6)


def _cells(cohesion, ratio, gap=(0.3, 0.2, 0.4)):
    cells = []
    for suffix in ("", " (contrastive)"):
        for block, values, unit in (
            ("Cohesion", cohesion, "share"),
            ("Specificity", gap, "change"),
            ("Separability / cohesion", ratio, "ratio"),
        ):
            value, low, high = values
            cells.append({"block": block + suffix, "row": "All", "column": "Avg.", "unit": unit})
            cells[-1] |= {"value": value, "low": low, "high": high, "chance_layer_matched": 0.1}
    return {"cells": cells}


@pytest.mark.parametrize(
    ("cohesion", "ratio", "expected"),
    [
        ((0.9, 0.8, 0.95), (0.1, 0.05, 0.2), ("supported", "supported")),
        ((0.3, 0.2, 0.4), (0.8, 0.7, 0.9), ("not supported", "not supported")),
        ((0.5, 0.4, 0.6), (0.25, 0.2, 0.3), ("undecided at this size",) * 2),
        ((None, None, None), (None, None, None), ("undecided at this size",) * 2),
    ],
)
def test_verdicts(cohesion, ratio, expected):
    judged = {name: verdict for name, verdict, _ in judge(_cells(cohesion, ratio), PRESETS["cpu"])}
    assert (judged["cohesion"], judged["separability"]) == expected
    assert (judged["contrastive_cohesion"], judged["contrastive_separability"]) == expected
    assert judged["specific"] == "supported"


def test_empty_sets_are_told_and_left_out_of_averages():
    nothing = Side(NeuronSet.from_pairs([], 2, 5), [frozenset()], 4)
    some = Side(NeuronSet.from_pairs([(0, 1), (1, 2)], 2, 5), [frozenset({1, 7})], 4)
    empty = likeness(nothing, nothing)
    assert math.isnan(empty.value)
    row = likeness_cell("Cohesion", "DG", "+", empty)
    assert (row["value"], row["low"], row["neurons"]) == (None, None, 0)
    average = mean_of([empty, likeness(some, some)])
    assert (average.value, average.about["of"]) == (1.0, 1)


def test_table_11_differs_in_sigma_only():
    three = EXPERIMENTS.get("dcsn-table-11").presets["paper"].locating
    six = EXPERIMENTS.get("dcsn-table-3").presets["paper"].locating
    assert (six.sigma, three.sigma) == (6, 3)
    assert (six.options, six.examples) == (three.options, three.examples)
