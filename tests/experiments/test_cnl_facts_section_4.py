"""cnl-section-4: kinds of pairs, verdicts on hand-made cells, and a run on the random model."""

import math

import numpy as np
import pytest

from brodmann.experiments.cells import find, only
from brodmann.experiments.cnl.alike import Universe, alike
from brodmann.experiments.cnl.decoupled import Requests, kinds_of
from brodmann.experiments.cnl.section_4 import (
    BLOCK,
    CLAIMS,
    CONTRASTS,
    CONTROL,
    EXPRESSION,
    MAIN,
    NEITHER,
    PAIRS,
    PRESETS,
    TASK,
    judge,
    run,
)
from brodmann.experiments.cnl.section_4 import _shuffled as shuffled
from brodmann.experiments.workbench import Workbench
from brodmann.storage import plain
from tests.experiments.cnl_bench import written

SMOKE = PRESETS["smoke"]


def requests(sets, tokens=(1, 2, 1, 1, 2, 1)):
    return Requests((), ("1+1", "2+1", "3-2") * 2, {MAIN: sets}, tokens, [True, True, False])


def test_pairs_are_of_the_kinds_that_they_say():
    kinds = kinds_of(requests([frozenset()] * 6))
    assert kinds.expression[0, 3] and not kinds.expression[0, 4]
    assert kinds.task[0, 1] and kinds.task[3, 4] and not kinds.task[0, 3]
    assert kinds.values[0, 1] and not kinds.values[3, 4]
    assert kinds.neither[0, 4] and not kinds.neither[0, 1] and not kinds.neither[0, 3]
    assert kinds.same_token[0, 2] and not kinds.same_token[0, 1]
    off_diagonal = ~np.eye(6, dtype=bool)
    assert ((kinds.expression | kinds.task | kinds.neither) == off_diagonal).all()
    known = np.array([1, 1, 0, 1, 1, 0], dtype=bool)
    assert not kinds_of(requests([]), known[:, None] & known).task[0, 2]


def test_a_planted_expression_is_told_from_a_planted_task():
    """Of 8 elements 6 are the expression's, or 6 the task's; the rest are each request's own."""
    for planted in ("expression", "task"):
        sets = []
        for i in range(6):
            common = 100 * (i % 3 if planted == "expression" else i // 3)
            sets.append(frozenset([*range(common, common + 6), 900 + 2 * i, 901 + 2 * i]))
        made = requests(sets)
        kinds = kinds_of(made)
        likeness = alike(sets, Universe(1000, (1000,)), made.units, measure="max")
        shared = {"expression": kinds.expression, "task": kinds.task}
        for name, which in (shared | {"neither": kinds.neither}).items():
            assert likeness.rate(which).value == (6 / 8 if name == planted else 0)
        draws = shuffled(likeness, 3, SMOKE)
        assert len(draws) == 19 and max(draws) <= likeness.rate(kinds.expression).value + 1


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.02, 0.1), "supported"),
        ((-0.1, -0.02), "not supported"),
        ((-0.1, 0.1), "undecided at this size"),
        ((None, None), "undecided at this size"),
    ],
)
def test_judge_goes_by_the_intervals_of_the_main_rule(ends, verdict):
    places = {
        "expression": (CONTRASTS, "expression"),
        "task": (CONTRASTS, "task - expression"),
        "beyond-token": (CONTROL, "expression"),
    }
    cells = [written("expression", "KN's rule", 9, 8, 10, CONTRASTS)]
    cells += [written(row, MAIN, 0.0, *ends, block) for block, row in places.values()]
    judged = judge({"cells": cells}, SMOKE)
    assert [(name, found) for name, found, _ in judged] == [(name, verdict) for name in CLAIMS]


def test_smoke(tmp_path):
    tables = run(SMOKE, Workbench("tiny-random", tmp_path))
    cells = tables["cells"]
    for row, column in (("1", "1"), ("1", "2"), ("2", "2")):
        found = only(cells, block=BLOCK, row=f"subsample {row}", column=f"subsample {column}")
        assert found is not None and not found.get("extra") and math.isfinite(found["value"])
    assert only(cells, block=BLOCK, column="subsample 2", row="subsample 1")["p"] is not None
    for column in (MAIN, "KN's rule"):
        n = {
            row: only(cells, block=PAIRS, row=row, column=column)["pairs"]
            for row in (EXPRESSION, TASK, NEITHER)
        }
        assert n == {EXPRESSION: 6, TASK: 2 * 15, NEITHER: 30}
    assert plain(cells) == cells
    assert len(find(tables["sets"])) == 2 * 12
    assert [name for name, _, _ in judge(tables, SMOKE)] == list(CLAIMS)
