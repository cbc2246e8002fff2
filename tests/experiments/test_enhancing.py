"""What the tables of tuning share: pooling seeds, paired contrasts, the p of flipped signs."""

import pytest

from brodmann.evaluate import Evaluation
from brodmann.experiments.claims import above
from brodmann.experiments.enhancing import (
    contrast_cell,
    difference,
    paired,
    pooled_cell,
    unless_tuning_shows_nothing,
)
from tests.experiments.benches import accuracy, contrast


def answers(correct, margin=0.0):
    return Evaluation.from_rows(
        [
            {
                "prompt": f"q{index}",
                "answer": "1",
                "scorer": "integer",
                "correct": bool(one),
                "margin": margin + index,
                "chance": 0.0,
                "format_ok": True,
                "expression": f"e{index}",
            }
            for index, one in enumerate(correct)
        ]
    )


def test_seeds_are_pooled_over_the_same_examples():
    runs = [answers([1, 0, 0, 0]), answers([1, 1, 1, 0])]
    found = pooled_cell("b", "r", "+", runs)
    assert found["value"] == 0.5
    assert (found["lowest"], found["highest"]) == (0.25, 0.75)
    assert found["n"] == 4
    assert "lowest" not in pooled_cell("b", "r", "Avg.", runs)


def test_a_contrast_is_paired_by_example_and_seed():
    base, runs = answers([0, 0, 1, 0]), [answers([1, 0, 1, 0], 2.0), answers([1, 1, 1, 0], 4.0)]
    pairs = paired([base], runs)
    assert [len(pair) for pair in pairs] == [2, 2]
    assert difference(pairs).mean == 3 / 8
    found = contrast_cell("b", "r", "c", pairs)
    assert found["margin_change"] == pytest.approx(3.0)
    assert found["n"] == 4


def test_models_of_which_none_is_able_cannot_be_told_apart():
    judged = above("fits", contrast("b", "r", "c", 0.0, 0.0), -0.05, "Change")
    assert judged[1] == "supported"
    floor = [accuracy("b", "r", "c", 0.0)]
    assert unless_tuning_shows_nothing(judged, floor, None)[1] == "undecided at this size"
    assert unless_tuning_shows_nothing(judged, [*floor, accuracy("b", "s", "c")], None) == judged


def test_where_nothing_can_be_gained_nothing_is_decided():
    judged = above("gain", contrast("b", "r", "c", -0.2, -0.1), 0, "Change")
    assert judged[1] == "not supported"
    ceiling = [accuracy("b", "Original", "c", 1.0), accuracy("b", "FT-Cap", "c", 1.0)]
    assert unless_tuning_shows_nothing(judged, ceiling, None)[1] == "undecided at this size"
    room = [accuracy("b", "Original", "d", 0.5), *ceiling]
    assert unless_tuning_shows_nothing(judged, room, None) == judged


def test_what_lowers_accuracy_does_not_raise_it_more_than_others():
    judged = above("gain", contrast("b", "r", "c", 0.1, 0.2), 0, "Change")
    able = accuracy("b", "s", "c")
    assert judged[1] == "supported"
    assert (
        unless_tuning_shows_nothing(judged, [able], contrast("b", "s", "c", -0.3, -0.1))[1]
        == "not supported"
    )
    unsure = unless_tuning_shows_nothing(judged, [able], contrast("b", "s", "c", -0.05, 0.1))
    assert unsure[1] == "undecided at this size" and "for certain" in unsure[2]
    assert unless_tuning_shows_nothing(judged, [able], contrast("b", "s", "c", 0.05, 0.1)) == judged
    assert unless_tuning_shows_nothing(judged, [able], None) == judged
    lost = above("gain", contrast("b", "r", "c", -0.1, 0.2), 0, "Change")
    assert unless_tuning_shows_nothing(lost, [able], contrast("b", "s", "c", -0.3, -0.1)) == lost


def test_data_sets_of_unequal_size_weigh_the_same():
    large = answers([1] * 30), answers([0] * 3 + [1] * 27)
    small = answers([0] * 5), answers([1, 1, 0, 0, 0])
    found = difference([large, small])
    assert found.mean == pytest.approx((-0.1 + 0.4) / 2)
    assert found.interval[0] < found.mean < found.interval[1]
    assert difference([small, small]).mean == pytest.approx(0.4)
