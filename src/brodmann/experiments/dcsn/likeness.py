"""How alike sets are, with the resampled sets beside them, so that averages have intervals too."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.experiments.cells import Row, cell
from brodmann.experiments.map_resample import Draws, max_ratios, shifted_interval
from brodmann.neurons import NeuronSet, chance, layer_matched_chance, max_ratio


@dataclass(frozen=True)
class Side:
    """A set, what resampled blocks of its samples would have given, and how many samples it has."""

    neurons: NeuronSet
    draws: Draws
    samples: int


@dataclass(frozen=True)
class Likeness:
    """``|A∩B| / max(|A|, |B|)`` of two sets, or a mean of several.

    Attributes:
        value: the likeness; NaN where there are no neurons.
        draws: the same of each bootstrap draw.
        chance: of random sets of these sizes.
        chance_layer_matched: of random sets with as many neurons in each layer.
        n: examples behind each set, in the smaller sample.
        about: further entries of its cell.
    """

    value: float
    draws: Sequence[float]
    chance: float
    chance_layer_matched: float
    n: int
    about: dict[str, Any]


def likeness(a: Side, b: Side) -> Likeness:
    """Compare two sets."""
    one, other = a.neurons, b.neurons
    uniform, layered = chance(one, other), layer_matched_chance(one, other)
    known = len(one) > 0 and len(other) > 0
    return Likeness(
        max_ratio(one, other),
        max_ratios(a.draws, b.draws),
        uniform.max_ratio,
        layered.max_ratio,
        min(a.samples, b.samples),
        {"neurons": len(one), "neurons_b": len(other), "shared": len(one & other)}
        | {"p_layer_matched": layered.p_value if known else None},
    )


def mean_of(parts: Sequence[Likeness]) -> Likeness:
    """Return the mean; parts without neurons are left out."""
    return Likeness(
        mean([part.value for part in parts]),
        [mean(draw) for draw in zip(*(part.draws for part in parts), strict=True)],
        mean([part.chance for part in parts]),
        mean([part.chance_layer_matched for part in parts]),
        min(part.n for part in parts),
        {"of": sum(not math.isnan(part.value) for part in parts)},
    )


def combined(first: Likeness, second: Likeness, how: Callable[[float, float], float]) -> Likeness:
    """Return what a function makes of two, with the draws of both: a difference, or a ratio."""
    return Likeness(
        how(first.value, second.value),
        [how(a, b) for a, b in zip(first.draws, second.draws, strict=True)],
        math.nan,
        math.nan,
        min(first.n, second.n),
        {"first": known(first.value), "second": known(second.value)},
    )


def likeness_cell(
    block: str,
    row: str,
    column: str,
    found: Likeness,
    *,
    unit: str = "share",
    bounds: tuple[float, float] = (0.0, 1.0),
    **more: Any,
) -> Row:
    """Return a likeness as a cell: its chance levels are entries of it."""
    low, high = shifted_interval(found.value, found.draws, bounds)
    levels = {
        "chance": known(found.chance),
        "chance_layer_matched": known(found.chance_layer_matched),
    }
    levels = {} if math.isnan(found.chance) else levels
    about = found.about | levels | more
    return cell(
        block, row, column, known(found.value), low=low, high=high, unit=unit, n=found.n, **about
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean of the numbers that are known; NaN where none is."""
    there = [value for value in values if not math.isnan(value)]
    return math.fsum(there) / len(there) if there else math.nan


def known(value: float) -> float | None:
    """Return None for NaN."""
    return None if math.isnan(value) else value
