"""Judge a claim that must hold in each of several cells: in every data set, at every size."""

from collections.abc import Sequence

from brodmann.experiments.cells import Cell
from brodmann.experiments.claims import (
    Judged,
    above,
    asked,
    below,
    told,
    unless_random_sets_do_it_too,
)
from brodmann.experiments.map_verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def above_everywhere(claim: str, found: Sequence[Cell], level: int | float, because: str) -> Judged:
    """Judge "each is more than ``level``".

    It is supported when every interval lies above the level, and not supported when one of them
    lies below it.
    """
    judged = [above(claim, one, level, "") for one in found]
    return _together(claim, found, judged, because, asked(level, "above"))


def below_everywhere(claim: str, found: Sequence[Cell], level: int | float, because: str) -> Judged:
    """Judge "each is less than ``level``", as :func:`above_everywhere` does.

    Where a cell tells the rank of its harm among random sets, that counts, too.
    """
    judged = [unless_random_sets_do_it_too(below(claim, one, level, ""), one) for one in found]
    return _together(claim, found, judged, because, asked(level, "below"))


def _together(
    claim: str, found: Sequence[Cell], judged: Sequence[Judged], because: str, needed: str
) -> Judged:
    verdicts = {verdict for _, verdict, _ in judged}
    if NOT_SUPPORTED in verdicts:
        verdict = NOT_SUPPORTED
    else:
        verdict = SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED
    numbers = "; ".join(f"{_place(one, found)} {_told(one)}" for one in found) or "not measured"
    return claim, verdict, f"{because}: {numbers}; {needed}, of each."


def _told(one: Cell) -> str:
    rank = one.get("rank")
    return told(one) if rank is None else f"{told(one)} (rank {rank} of {one['draws'] + 1})"


def _place(one: Cell, found: Sequence[Cell]) -> str:
    """Name a cell by what tells it from the others."""
    parts = [key for key in ("block", "row", "column") if len({cell[key] for cell in found}) > 1]
    return ", ".join(str(one[key]) for key in parts or ["column"])
