"""DCSN Table 4: activation ratios against a count by hand, and erasing composed operators."""

import pytest

from brodmann.experiments.cells import OPERATORS, only
from brodmann.experiments.dcsn.activation_ratio import random_mean
from brodmann.experiments.dcsn.operator_sets import SMOKE, VIEWS, by_operator, operator_sets
from brodmann.experiments.dcsn.table_4 import CLAIMS, PRESETS, judge, run
from brodmann.experiments.sample import Sample
from brodmann.localize import locate
from brodmann.neurons import NeuronSet
from tests.experiments.operators import check_cells, places, tiny_bench

CONFIG = PRESETS["smoke"]
COLUMNS = ("2-OP", "3-OP", "4-OP", "5-OP", "Avg.")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("table-4"))


@pytest.fixture(scope="module")
def tables(bench):
    return run(CONFIG, bench)


def test_every_cell_of_the_paper_is_there(tables):
    cells = tables["cells"]
    check_cells(cells)
    wanted = {(row, column) for row in VIEWS for column in COLUMNS}
    assert wanted <= places(cells, "Forward")
    rows = ("Original", "Deactivate-Random", "Deactivate-Cap")
    assert {(row, column) for row in rows for column in COLUMNS} <= places(cells, "Reverse")
    assert {name for name, _, _ in judge(tables, CONFIG)} == set(CLAIMS)


def test_the_ratio_is_that_of_each_examples_own_scores(tables, bench):
    sets = by_operator(operator_sets(bench, SMOKE, "TF")["raw"])
    examples = bench.examples(Sample("arithmetic/2op:template=plain,max=12,task=tf", "test", 4))
    own, others = [], []
    for example in examples:
        active = set(locate(bench.model, [example], "dcsn").select(2))
        share = {n: len(active & set(one)) / len(one) for n, one in sets.items()}
        inside = [share[name] for name in OPERATORS if name in example.meta["operators"]]
        outside = [share[name] for name in OPERATORS if name not in example.meta["operators"]]
        assert len(inside) == len(outside) == 2
        own.append(sum(inside) / 2)
        others.append(sum(outside) / 2)
    cell = only(tables["cells"], block="Forward", row="TF", column="2-OP")
    assert cell["value"] == pytest.approx(sum(own) / 4)
    assert cell["others"] == pytest.approx(sum(others) / 4)


def test_random_sets_are_averaged_exactly():
    neurons = NeuronSet.from_pairs([(0, 0), (0, 1), (1, 4)], 2, 5)
    active = NeuronSet.from_pairs([(0, 3), (1, 1), (1, 2), (1, 3)], 2, 5)
    # Two of five in layer 0, of which one is active; one of five in layer 1, where three are.
    assert random_mean(active.mask, neurons) == pytest.approx((2 * 1 / 5 + 3 / 5) / 3)


def test_2op_erases_each_set_alone_and_3op_the_union(tables, bench):
    sets = by_operator(operator_sets(bench, SMOKE)["raw"])

    def margins(part, count, *erased):
        sample = Sample(f"arithmetic/{part}:template=plain,max=12", "test", count)
        found = [bench.answers(sample, one) for one in erased]
        return [
            sum(values) / len(values)
            for values in zip(*(f.column("margin") for f in found), strict=True)
        ]

    two, three = [], []
    for a, b in (("add", "sub"), ("add", "mul"), ("add", "div"), ("sub", "mul"), ("sub", "div"),
                 ("mul", "div")):  # fmt: skip
        two += margins(f"{a}-{b}", 1, sets[a], sets[b])
    for a, b, c in (("add", "sub", "mul"), ("add", "sub", "div"), ("add", "mul", "div"),
                    ("sub", "mul", "div")):  # fmt: skip
        three += margins(f"{a}-{b}-{c}", 1, sets[a] | sets[b] | sets[c])
    for column, expected in (("2-OP", two), ("3-OP", three)):
        cell = only(tables["cells"], block="Reverse", row="Deactivate-Cap", column=column)
        assert cell["margin"] == pytest.approx(sum(expected) / len(expected))


def _judged(ratio, contrast, harm, able=0.6):
    def cell(block, row, column, value, unit="change", width=0.05):
        found = {"block": block, "row": row, "column": column, "value": value, "unit": unit}
        return found | {"low": value - width, "high": value + width, "chance": 0.0}

    cells = [cell("Forward", "All", "Avg.", ratio, "activation")]
    for suffix in ("", " (contrastive)"):
        block = f"Forward, contrasts{suffix}"
        cells += [cell(block, "All", "own - others", contrast)]
        cells += [cell(block, "All", "own - random", contrast)]
    cells += [cell("Reverse", "Original", column, able, "accuracy") for column in COLUMNS]
    cells += [cell("Reverse", "Deactivate-Cap - Deactivate-Random", "Avg.", harm)]
    return {name: verdict for name, verdict, _ in judge({"cells": cells}, CONFIG)}


def test_verdicts():
    assert set(_judged(0.9, 0.3, -0.3).values()) == {"supported"}
    assert set(_judged(0.4, -0.2, 0.1).values()) == {"not supported"}
    assert set(_judged(0.8, 0.0, 0.0).values()) == {"undecided at this size"}
    assert _judged(0.4, -0.2, 0.1, able=0.02)["reverse"] == "undecided at this size"
