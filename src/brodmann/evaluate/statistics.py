"""Intervals and tests: how far a number may be trusted."""

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from brodmann.errors import InputError

Interval = tuple[float, float]
Number = int | float

_FLIPS, _FLIPS_AT_ONCE = 9999, 1111

DRAWS_FOR_P = 19
"""With fewer random draws no p below 0.05 can come out, and only the rank is given."""


@dataclass(frozen=True)
class Permutation:
    """Where an effect stands among the effects of random draws.

    Attributes:
        p: (1 + number of draws at least as large as the effect) / (1 + draws); None below
            :data:`DRAWS_FOR_P` draws.
        rank: 1 if the effect is larger than every draw's, at most draws + 1.
        draws: the number of random draws.
    """

    p: float | None
    rank: int
    draws: int

    def __str__(self) -> str:
        if self.p is not None:
            return f"p = {self.p:.3g} ({self.draws} draws)"
        return f"rank {self.rank} of {self.draws + 1}"


@dataclass(frozen=True)
class Difference:
    """A paired difference, after minus before.

    Attributes:
        mean: the mean difference.
        interval: its bootstrap interval.
        p: two-sided: McNemar's exact p where both sides are right or wrong, else
            :func:`sign_flip_p`.
        n: pairs.
        units: independent ones among them.
    """

    mean: float
    interval: Interval
    p: float
    n: int
    units: int


def wilson_interval(successes: Number, n: Number, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion.

    Args:
        successes: how many of ``n``; a fraction where ``n`` is an effective number of samples.
        n: trials; 0 gives (0, 1).
        confidence: the coverage.
    """
    if not 0 <= successes <= n:
        raise InputError(f"Expected 0 to {n} successes out of {n}; got {successes}.")
    if n == 0:
        return 0.0, 1.0
    z = _z(confidence)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)  # exact, where rounding is not
    return low, 1.0 if successes == n else min(1.0, centre + half)


def bootstrap_interval(
    values: Sequence[Number],
    *,
    groups: Sequence[Hashable] | None = None,
    parts: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of the mean, or of the mean of several means.

    Args:
        values: one number for each sample.
        groups: which samples are not independent (the same expression in another context):
            whole groups are drawn. None: every sample on its own.
        parts: which samples belong together (the data set of each): the interval is that of the
            mean over parts of their means, however many samples each has. None: one part.
        confidence: the coverage.
        draws: bootstrap samples.
        seed: of the draws; equal arguments give equal intervals.

    Returns:
        (low, high); (nan, nan) without values.
    """
    if len(values) == 0:
        return math.nan, math.nan
    sums, sizes = _group_sums(np.asarray(values, dtype=np.float64), groups, parts)
    n = sums.shape[0]
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for start in range(0, draws, 100):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(100, draws - start))
        with np.errstate(invalid="ignore"):  # a draw without any sample of a part has no mean
            means[start : start + 100] = ((counts @ sums) / (counts @ sizes)).mean(1)
    outside = (1 - confidence) / 2
    low, high = np.nanquantile(means, [outside, 1 - outside])
    return float(low), float(high)


def paired_difference(
    before: Sequence[Number],
    after: Sequence[Number],
    *,
    groups: Sequence[Hashable] | None = None,
    parts: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two measurements of the same samples, after minus before.

    The interval is :func:`bootstrap_interval` of the differences; p is McNemar's exact one where
    all values are 0 or 1 (wrong or right) and the samples independent, else that of sign flips.
    With ``parts`` of unequal size the mean is that of their means, as there.

    Raises:
        InputError: when the two do not have the same number of samples, or have none.
    """
    if len(before) != len(after) or len(before) == 0:
        raise InputError(
            f"Expected the same samples twice; got {len(before)} before and {len(after)} after."
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    units = len(before) if groups is None else len(set(groups))
    binary = {float(value) for value in (*before, *after)} <= {0.0, 1.0}
    sizes = Counter(parts or ())
    if len(set(sizes.values())) < 2:
        parts = None  # the mean of means of equally many is the mean of all
    weights = [len(before) / len(sizes) / sizes[part] for part in parts] if parts else [1.0]
    weighted = differences * weights
    return Difference(
        mean=float(weighted.mean()),
        interval=bootstrap_interval(
            differences.tolist(), groups=groups, parts=parts, confidence=confidence, seed=seed
        ),
        p=mcnemar_p(before, after)
        if binary and units == len(before) and parts is None
        else sign_flip_p(weighted.tolist(), groups=groups, seed=seed),
        n=len(before),
        units=units,
    )


def mcnemar_p(before: Sequence[Number], after: Sequence[Number]) -> float:
    """Return McNemar's exact two-sided p for two series of right (1) and wrong (0) answers."""
    pairs = [(bool(a), bool(b)) for a, b in zip(before, after, strict=True)]
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    return float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def sign_flip_p(
    differences: Sequence[Number], *, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> float:
    """Return the two-sided p of paired differences, by flipping signs at random.

    p = (1 + flips whose sum is as far from 0) / (1 + flips), over 9,999 flips. A group (all that
    was measured on one expression) flips as one.
    """
    sums = _group_sums(np.asarray(differences, dtype=np.float64), groups, None)[0][:, 0]
    found, sums = abs(sums.sum()), sums[sums != 0]
    rng = np.random.default_rng(seed)
    at_least = 0
    for _ in range(_FLIPS // _FLIPS_AT_ONCE):
        signs = rng.integers(0, 2, size=(_FLIPS_AT_ONCE, len(sums)), dtype=np.int8) * 2.0 - 1
        at_least += int((np.abs(signs @ sums) >= found - 1e-9).sum())
    return (1 + at_least) / (1 + _FLIPS)


def permutation_p(effect: Number, random: Sequence[Number]) -> Permutation:
    """Place an effect among those of random draws; larger effects are the more extreme ones.

    p = (1 + number of draws >= effect) / (1 + draws), one-sided, never 0.
    """
    at_least = sum(1 for value in random if not value < effect)  # a NaN is no evidence
    draws = len(random)
    p = (1 + at_least) / (1 + draws) if draws >= DRAWS_FOR_P else None
    return Permutation(p=p, rank=1 + at_least, draws=draws)


def holm(p_values: Sequence[Number]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given.

    Sorted ascending, the i-th smallest of m (from 0) is multiplied by m - i; each is at least as
    large as the one before it, and at most 1.

    Raises:
        InputError: when a p-value is not between 0 and 1.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise InputError(f"Expected p-values between 0 and 1; got {list(p_values)}.")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(f"Expected a confidence between 0 and 1; got {confidence}.")
    return float(stats.norm.ppf((1 + confidence) / 2))


def _group_sums(
    values: np.ndarray, groups: Sequence[Hashable] | None, parts: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the size of each group of values in each part, groups x parts."""
    rows, n_rows = _numbered(groups, len(values), range(len(values)))
    columns, n_columns = _numbered(parts, len(values), itertools.repeat(0, len(values)))
    sums, sizes = np.zeros((n_rows, n_columns)), np.zeros((n_rows, n_columns))
    np.add.at(sums, (rows, columns), values)
    np.add.at(sizes, (rows, columns), 1)
    return sums, sizes


def _numbered(
    names: Sequence[Hashable] | None, n: int, otherwise: Iterable[Hashable]
) -> tuple[np.ndarray, int]:
    """Number the different names from 0, in the order of their first places."""
    if names is not None and len(names) != n:
        raise InputError(f"Expected a group for each of {n} values; got {len(names)}.")
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(name, len(numbers)) for name in names or otherwise]
    return np.asarray(found), len(numbers)
