"""DCSN Table 5: which operator suffers when which operator's set is erased."""

from dataclasses import replace

import pytest

from brodmann.evaluate import Evaluation, evaluate, random_sets
from brodmann.experiments.cells import OPERATORS, only
from brodmann.experiments.dcsn.operator_sets import operator_sets
from brodmann.experiments.dcsn.table_5 import CLAIMS, PRESETS, judge, run, strongest
from brodmann.experiments.dcsn.whose_set import INVERSE, contrast_cells
from brodmann.experiments.erasing import Erasure
from brodmann.interventions import erased
from tests.experiments.operators import SIGNS, check_cells, places, tiny_bench

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("table-5"))


@pytest.fixture(scope="module")
def tables(bench):
    return run(CONFIG, bench)


def test_every_cell_of_the_paper_is_there(tables):
    check_cells(tables["cells"])
    wanted = {(f"1-OP ({tested})", erased) for tested in SIGNS for erased in SIGNS}
    assert places(tables["cells"], "Erase") == wanted
    assert places(tables["cells"], "Erase (contrastive, whole set)") == wanted
    assert {name for name, _, _ in judge(tables, CONFIG)} == set(CLAIMS)


def test_a_change_is_that_of_answering_without_the_strongest_tenth(tables, bench):
    (sub,) = [o for o in operator_sets(bench, CONFIG.locating)["raw"] if o.capability == "sub"]
    values = sub.scores.values
    tenth = sorted(sub.neurons, key=lambda pair: -abs(values[pair].item()))
    tenth = set(tenth[: max(1, round(0.1 * len(tenth)))])
    neurons = strongest(sub, 0.1)
    assert set(neurons) == tenth
    examples = bench.examples(CONFIG.test("mul"))
    before = evaluate(bench.model, examples)
    with erased(bench.model, neurons):
        after = evaluate(bench.model, examples)
    cell = only(tables["cells"], block="Erase", row="1-OP (*)", column="-")
    assert cell["neurons"] == len(tenth)
    assert cell["value"] == pytest.approx(after.accuracy - before.accuracy)
    assert cell["margin_change"] == pytest.approx(after.margin - before.margin, abs=1e-6)
    harms = []
    for drawn in random_sets(neurons, 1):
        with erased(bench.model, drawn):
            harms.append(evaluate(bench.model, examples).margin - before.margin)
    assert cell["margin_rank"] == 1 + sum(harm <= cell["margin_change"] for harm in harms)
    assert (cell["draws"], cell["p_random"]) == (1, None)


def _answers(right, tested, n=20):
    return Evaluation.from_rows(
        [
            {"prompt": f"{tested}{i}", "answer": "1", "scorer": "integer", "correct": i < right}
            | {"margin": float(i < right), "chance": 0.0, "format_ok": True}
            | {"expression": f"{tested}{i}"}
            for i in range(n)
        ]
    )


def _matrix(own, inverse, other):
    left = {
        (e, t): own if e == t else inverse if INVERSE[t] == e else other
        for e in OPERATORS
        for t in OPERATORS
    }
    return {
        (e, t): Erasure(_answers(20, t), _answers(right, t), [_answers(19, t)] * 2)
        for (e, t), right in left.items()
    }


def _judged(own, inverse, other, able=0.9):
    cells = [
        {"block": "Original", "row": "Accuracy", "column": sign, "value": able}
        | {"low": able - 0.1, "high": able + 0.1, "chance": 0.0}
        for sign in SIGNS
    ]
    for suffix in ("", " (contrastive, whole set)"):
        cells += contrast_cells(_matrix(own, inverse, other), f"Contrasts{suffix}")
    return {name: verdict for name, verdict, _ in judge({"cells": cells}, CONFIG)}


def test_verdicts():
    assert set(_judged(2, 8, 20).values()) == {"supported"}
    assert set(_judged(20, 12, 4).values()) == {"not supported"} | {"undecided at this size"}
    assert _judged(20, 12, 4)["contrastive_specific"] == "not supported"
    assert set(_judged(20, 20, 20).values()) == {"undecided at this size"}  # no answer differs
    assert _judged(20, 20, 20, able=0.05)["inverse"] == "undecided at this size"
    assert _judged(19, 19, 20)["inverse"] == "undecided at this size"


def test_contrasts_by_hand():
    cells = contrast_cells(_matrix(4, 10, 16), "Contrasts")
    inverse = only(cells, row="1-OP (+)", column="inverse - other pair")
    assert inverse["value"] == pytest.approx((10 - 16) / 20)
    own = only(cells, row="All", column="own - others")
    assert own["value"] == pytest.approx((4 - (10 + 16 + 16) / 3) / 20)
    assert own["n"] == 80
    assert only(cells, column="own - random")["value"] == pytest.approx((4 - 19) / 20)
    assert only(cells, column="own - random, by norm") is None
    beside = {
        key: replace(one, by_norm=[one.located, one.random[0]])
        for key, one in _matrix(4, 10, 16).items()
    }
    by_norm = only(contrast_cells(beside, "Contrasts"), column="own - random, by norm")
    assert by_norm["value"] == pytest.approx((4 - (4 + 19) / 2) / 20)


def test_an_empty_set_leaves_contrasts_open():
    matrix = {key: one for key, one in _matrix(4, 10, 16).items() if key[0] != "sub"}
    cells = contrast_cells(matrix, "Contrasts")
    assert only(cells, row="1-OP (+)", column="inverse - other pair")["value"] is None
    assert only(cells, row="1-OP (-)", column="inverse - other pair")["value"] is not None
    assert only(cells, row="1-OP (*)", column="own - others")["value"] is None
