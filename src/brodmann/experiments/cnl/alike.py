"""How alike every two of many sets are, averaged over kinds of pairs, with bootstrap intervals.

Sets of single prompts are compared in thousands of pairs, which are not independent: all pairs
with one fact (or expression) move together. So facts are drawn, not pairs, and every kind of pair
is averaged over the same draws: differences between kinds have intervals of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from brodmann.experiments.cells import Row, cell

RESAMPLES = 2000


@dataclass(frozen=True)
class Universe:
    """What sets are drawn from, and in which strata chance draws.

    Element i is in stratum ``i // width``.

    Attributes:
        width: numbers that one stratum takes (the widest layer, for neurons).
        sizes: how many elements each stratum really has.
    """

    width: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rate:
    """The mean likeness of one kind of pairs.

    Attributes:
        value: the mean; NaN without pairs.
        draws: the same over each bootstrap draw of units.
        chance: the mean of what random sets, as large in every stratum, would have.
        pairs: how many.
        units: how many units (facts, expressions) are in them.
    """

    value: float
    draws: Float64[np.ndarray, "R"]
    chance: float
    pairs: int
    units: int

    def __sub__(self, other: "Rate") -> "Rate":
        units = min(self.units, other.units)
        return Rate(self.value - other.value, self.draws - other.draws,
                    self.chance - other.chance, min(self.pairs, other.pairs), units)  # fmt: skip

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95% percentile interval over the draws; None without two units or pairs."""
        known = self.draws[~np.isnan(self.draws)]
        if math.isnan(self.value) or self.units < 2 or not len(known):
            return None, None
        low, high = np.quantile(known, [0.025, 0.975])
        return float(low), float(high)

    def cell(self, block: str, row: str, column: str, **more: Any) -> Row:
        """Return it as a cell; ``chance_layer_matched`` stands beside it."""
        low, high = self.interval
        return cell(block, row, column, _known(self.value), low=low, high=high, unit="share",
                    n=self.units, pairs=self.pairs, chance_layer_matched=_known(self.chance),
                    **more)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Alike:
    """How alike every two of some sets are.

    Attributes:
        values: overlap (CNL Eq. 9) or another measure; NaN where both sets are empty.
        chance: its mean over random sets with as many elements in every stratum.
        units: the number of the unit that each set belongs to, from 0.
        seed: of the bootstrap draws; tables of one number of units and seed draw the same units.
    """

    values: Float64[np.ndarray, "n n"]
    chance: Float64[np.ndarray, "n n"]
    units: Int64[np.ndarray, "n"]
    seed: int = 0

    @cached_property
    def _times(self) -> Float64[np.ndarray, "R U"]:
        n = int(self.units.max()) + 1
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)

    def rate(self, which: Bool[np.ndarray, "n n"]) -> Rate:
        """Average over the pairs in the upper triangle of ``which``.

        A draw counts a pair of two units as often as both were drawn, and a pair within one unit
        as often as this was drawn: a unit is never compared with its own copy.
        """
        first, second = np.nonzero(np.triu(which, 1) & ~np.isnan(self.values))
        if not len(first):
            return Rate(math.nan, np.full(RESAMPLES, math.nan), math.nan, 0, 0)
        found = self.values[first, second]
        a, b = self.units[first], self.units[second]
        sums, counts = self._summed(a, b, found), self._summed(a, b, np.ones_like(found))
        with np.errstate(invalid="ignore"):
            draws = sums / counts
        units = len(np.unique(np.concatenate([a, b])))
        chance = float(self.chance[first, second].mean())
        return Rate(float(found.mean()), draws, chance, len(found), units)

    def _summed(
        self, a: Int64[np.ndarray, "p"], b: Int64[np.ndarray, "p"], values: Float64[np.ndarray, "p"]
    ) -> Float64[np.ndarray, "R"]:
        """Sum the values of pairs over every draw."""
        times, n = self._times, self._times.shape[1]
        within, between = np.zeros(n), np.zeros((n, n))
        same = a == b
        np.add.at(within, a[same], values[same])
        np.add.at(between, (a[~same], b[~same]), values[~same])
        return times @ within + ((times @ between) * times).sum(1)


def alike(
    sets: Sequence[frozenset[int]],
    universe: Universe,
    units: Sequence[int],
    *,
    measure: str = "overlap",
    seed: int = 0,
) -> Alike:
    """Compare every set with every other.

    Args:
        sets: elements of each, by number.
        universe: what they are drawn from.
        units: the number of the unit (fact, expression) of each, from 0.
        measure: ``"overlap"`` (CNL Eq. 9: the mean of |A∩B|/|A| and |A∩B|/|B|), ``"max"``
            (|A∩B| / max(|A|, |B|), as Eq. 6 is read) or ``"iou"``, whose chance is that of the
            mean intersection.
        seed: of the bootstrap draws.
    """
    elements = sorted(set().union(*sets))
    places = {element: place for place, element in enumerate(elements)}
    member = np.zeros((len(sets), len(elements)), dtype=np.float32)
    counts = np.zeros((len(sets), len(universe.sizes)))
    for row, one in enumerate(sets):
        for element in one:
            member[row, places[element]] = 1
            counts[row, element // universe.width] += 1
    common = (member @ member.T).astype(np.float64)
    expected = (counts / np.maximum(1, np.asarray(universe.sizes))) @ counts.T
    size = counts.sum(1)
    return Alike(
        _measured(common, size, measure),
        _measured(expected, size, measure),
        np.asarray(units, dtype=np.int64),
        seed,
    )


def _measured(
    common: Float64[np.ndarray, "n n"], size: Float64[np.ndarray, "n"], measure: str
) -> Float64[np.ndarray, "n n"]:
    """Turn numbers of common elements into a likeness; 0 beside one empty set, NaN beside two."""
    a, b = size[:, None], size[None, :]
    below = {
        "overlap": 2 / (1 / np.maximum(a, 1) + 1 / np.maximum(b, 1)),
        "max": np.maximum(np.maximum(a, b), 1),
        "iou": np.maximum(a + b - common, 1),
    }[measure]
    return np.where(a + b > 0, common / below, np.nan)


def core_share(sets: Sequence[frozenset[int]]) -> float:
    """Return what all sets share, over the largest of them (CNL Eq. 6, t = t*); NaN if empty."""
    largest = max(len(one) for one in sets)
    return len(frozenset.intersection(*sets)) / largest if largest else math.nan


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
