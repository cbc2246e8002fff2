"""A verdict is read off an interval, and needs enough units for one."""

import pytest

from brodmann.experiments.cells import cell
from brodmann.experiments.claims import (
    FEWEST,
    above,
    below,
    unless_at_floor,
    unless_random_sets_do_it_too,
)


def found(low, high, **more):
    return cell("block", "row", "column", 0.3, low=low, high=high, unit="share", **more)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.4, "supported"),
        (-0.1, 0.4, "undecided at this size"),
        (-0.4, -0.1, "not supported"),
        (-0.4, 0.0, "undecided at this size"),
        (0.0, 0.0, "undecided at this size"),
    ],
)
@pytest.mark.parametrize("judge", [above, below])
def test_the_whole_interval_must_be_on_one_side(judge, low, high, verdict):
    if judge is below:
        low, high = -high, -low
    name, told, because = judge("one", found(low, high, n=FEWEST), 0, "It")
    assert (name, told) == ("one", verdict)
    assert because.startswith("It: 0.300 [")


def test_few_units_decide_nothing_however_narrow_their_interval():
    _, told, because = above("one", found(0.29, 0.31, n=FEWEST - 1), 0, "It")
    assert told == "undecided at this size"
    assert "of 5 units" in because


def test_what_was_not_measured_decides_nothing():
    assert above("one", None, 0, "It")[1:] == ("undecided at this size", "It: not measured.")


def test_an_interval_of_few_differences_needs_a_small_p_too():
    assert above("one", found(0.1, 0.4, n=24, p=0.03), 0, "It")[1] == "supported"
    _, told, because = above("one", found(0.1, 0.4, n=24, p=0.0625), 0, "It")
    assert told == "undecided at this size"
    assert "p = 0.062" in because
    assert above("one", found(0.1, 0.4, n=24, p=0.9), -0.05, "It")[1] == "supported"  # p is of 0


def test_guessing_and_one_same_answer_are_no_ability():
    judged = below("one", found(-0.4, -0.1, n=24), 0, "It")
    assert judged[1] == "supported"
    for chance, majority in ((0.2, 0.25), (0.0, 0.4)):
        base = found(0.2, 0.5, chance=chance, majority=majority)  # 0.3
        assert unless_at_floor(judged, [base])[1] == "undecided at this size"
    assert unless_at_floor(judged, [found(0.2, 0.5, chance=0.1, majority=0.3)]) == judged


@pytest.mark.parametrize(
    ("rank", "draws", "verdict"),
    [
        (1, 3, "supported"),
        (2, 3, "undecided at this size"),
        (2, 20, "supported"),
        (3, 20, "undecided at this size"),
    ],
)
def test_a_random_set_that_harms_as_much_leaves_more_harm_undecided(rank, draws, verdict):
    judged = below("one", found(-0.4, -0.1, n=24), 0, "It")
    place = found(0.2, 0.5, rank=rank, draws=draws)
    assert unless_random_sets_do_it_too(judged, place)[1] == verdict
    assert unless_random_sets_do_it_too(judged, None) == judged
    other = below("one", found(0.1, 0.4, n=24), 0, "It")
    assert unless_random_sets_do_it_too(other, place) == other
