"""What a table's numbers say of a claim that was stated before: a pure function of its cells.

Every verdict compares an interval with a level, so that "undecided at this size" is an answer.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from brodmann.experiments.cells import Cell
from brodmann.experiments.map_verdict import ALPHA, NOT_SUPPORTED, SUPPORTED, UNDECIDED

Judged = tuple[str, str, str]
"""Name of the claim, verdict, and a sentence with the numbers."""

FEWEST = 6
"""Units that a verdict needs: the signs of five differences can agree by chance, p = 2 / 2^5."""


def above(claim: str, found: Cell | None, level: int | float, because: str) -> Judged:
    """Judge "it is more than ``level``": by which side of it the whole interval lies.

    Args:
        claim: its name.
        found: the cell that decides it; None where it could not be measured.
        level: the claim holds above it.
        because: what was measured, in words; the numbers are put behind.
    """
    return _judged(claim, found, level, because, "above")


def below(claim: str, found: Cell | None, level: int | float, because: str) -> Judged:
    """Judge "it is less than ``level``", as :func:`above` does."""
    return _judged(claim, found, level, because, "below")


def _judged(
    claim: str,
    found: Cell | None,
    level: int | float,
    because: str,
    side: Literal["above", "below"],
) -> Judged:
    """Judge by whether all of the interval is on the claimed side, or on the other.

    A bootstrap interval of few answers that differ is too narrow: against 0 their p counts, too.
    """
    if found is None or None in (found["value"], found["low"], found["high"]):
        return claim, UNDECIDED, f"{because}: not measured."
    units = found.get("n")
    if units is not None and units < FEWEST:
        return claim, UNDECIDED, f"{because}: {told(found)}; of {units} units, too few to judge."
    low, high, p = found["low"], found["high"], found.get("p")
    holds, fails = (low > level, high < level) if side == "above" else (high < level, low > level)
    if (holds or fails) and level == 0 and p is not None and p >= ALPHA:
        why = f"its interval does not hold 0, but p = {p:.2g}: too little differs to judge"
        return claim, UNDECIDED, f"{because}: {told(found)}; {why}."
    verdict = SUPPORTED if holds else NOT_SUPPORTED if fails else UNDECIDED
    return claim, verdict, f"{because}: {told(found)}; {asked(level, side)}."


def asked(level: int | float, side: Literal["above", "below"]) -> str:
    """Write what an interval must do for a claim to hold."""
    return f"the claim needs the whole interval {side} {level:g}"


def unless_at_floor(judged: Judged, base: Sequence[Cell]) -> Judged:
    """Withhold a verdict about a loss of accuracy where the model cannot do the task as it is.

    Args:
        judged: the verdict.
        base: accuracies of the model as it is; the claim is open where none is above chance.
    """
    if any(map(is_above_chance, base)):
        return judged
    tops = ", ".join(f"{one['column']} {one['value']:.2f}" for one in base)
    reason = f"{judged[2]} The model as it is is not above chance ({tops}), so nothing can be lost."
    return judged[0], UNDECIDED, reason


def unless_random_sets_do_it_too(judged: Judged, found: Cell | None) -> Judged:
    """Withhold "more harm than random sets" where one random set in twenty harms as much.

    The interval compares with the mean of the random sets, over examples; how far these differ
    among each other shows only in the rank.

    Args:
        judged: the verdict.
        found: the cell that has the rank, 1 for the most harm, among ``draws`` random sets.
    """
    if judged[1] != SUPPORTED or found is None or found.get("rank") is None:
        return judged
    rank, draws = found["rank"], found["draws"]
    if rank <= 1 + draws // 20:
        return judged
    why = f"But its harm is only number {rank} of {draws + 1}: a random set harms as much."
    return judged[0], UNDECIDED, f"{judged[2]} {why}"


def is_above_chance(found: Cell) -> bool:
    """Say whether an accuracy is certainly above guessing, and not below one same answer to all."""
    low, value = found["low"], found["value"]
    if low is None or value is None:
        return False
    return bool(low > found.get("chance", 0) and value >= (found.get("majority") or 0))


def told(found: Cell) -> str:
    """Write a cell's value with its interval."""
    value, low, high = (found[key] for key in ("value", "low", "high"))
    if value is None or math.isnan(value):
        return "no value"
    signed = "+" if found["unit"] in ("change", "margin", "nats") else ""
    text = f"{value:{signed}.3f}"
    return text if low is None else f"{text} [{low:{signed}.3f}, {high:{signed}.3f}]"


def verdict_rows(judged: Sequence[Judged], claims: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of the table ``verdict``: each claim in words, its verdict and why."""
    return [
        {"claim": name, "statement": claims[name], "verdict": verdict, "because": because}
        for name, verdict, because in judged
    ]
