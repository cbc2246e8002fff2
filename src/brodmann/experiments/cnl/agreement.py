"""How alike two sets are, as a cell: with a bootstrap interval and the chance levels."""

import math
from collections.abc import Sequence
from typing import Any

from brodmann.experiments.cells import Row, cell
from brodmann.experiments.map_resample import Draws, shifted_interval
from brodmann.neurons import NeuronSet, chance, iou, layer_matched_chance, overlap
from brodmann.neurons.similarity import iou_of, overlap_of

_MEASURES = {"overlap": (overlap, overlap_of), "iou": (iou, iou_of)}


def agreement_cell(
    block: str,
    row: str,
    column: str,
    sets: tuple[NeuronSet, NeuronSet],
    draws: tuple[Draws, Draws],
    n: int,
    *,
    measure: str = "overlap",
    **more: Any,
) -> Row:
    """Return how alike two sets are (CNL Eq. 9), beside two random sets of their sizes.

    Args:
        block: where the cell stands.
        row: likewise.
        column: likewise.
        sets: the two sets.
        draws: what is selected from resamples of the examples of each.
        n: examples.
        measure: ``"overlap"`` or ``"iou"``.
        **more: further keys of the cell.
    """
    a, b = sets
    value = _MEASURES[measure][0](a, b)
    low, high = shifted_interval(value, measured(draws, measure))
    uniform, layered = chance(a, b), layer_matched_chance(a, b)
    return cell(
        block, row, column, known(value), low=low, high=high, unit="share", n=n,
        chance=known(getattr(uniform, measure)),
        chance_layer_matched=known(getattr(layered, measure)),
        p=layered.p_value if len(a) and len(b) else None,
        neurons=[len(a), len(b)],
        **more,
    )  # fmt: skip


def measured(draws: tuple[Draws, Draws], measure: str = "overlap") -> list[float]:
    """Return how alike the sets of each pair of draws are; NaN where both are empty."""
    of = _MEASURES[measure][1]
    return [of(len(a & b), len(a), len(b)) for a, b in zip(*draws, strict=True)]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    found = [value for value in values if not math.isnan(value)]
    return math.fsum(found) / len(found) if found else math.nan


def known(value: float) -> float | None:
    """Return a number, or None for NaN."""
    return None if math.isnan(value) else value
