"""How alike two random sets of these sizes would be, exactly (hypergeometric distribution)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import gammaln

from brodmann.neurons.neuron_set import NeuronSet
from brodmann.neurons.similarity import iou_of, max_ratio_of, overlap_of

SMALLEST_P = 1e-60
"""Probabilities below are not told apart; a p-value is never reported smaller."""


@dataclass(frozen=True)
class Chance:
    """The chance level of the similarity of two sets.

    Attributes:
        intersection: how many neurons two random sets of these sizes share, on average.
        overlap: the average of :func:`brodmann.neurons.overlap` over random sets.
        iou: likewise of intersection over union.
        max_ratio: likewise of separability and cohesion.
        p_value: probability that random sets share as many neurons as these, or more.
    """

    intersection: float
    overlap: float
    iou: float
    max_ratio: float
    p_value: float


def chance(a: NeuronSet, b: NeuronSet) -> Chance:
    """Compare with sets of |A| and |B| neurons drawn uniformly from all neurons of the model.

    Raises:
        MismatchError: when the sets belong to different models.
    """
    return _chance(len(a & b), [len(a)], [len(b)], [int(a.real.sum())])


def layer_matched_chance(a: NeuronSet, b: NeuronSet) -> Chance:
    """Compare with sets that have as many neurons in each layer as A and B have.

    The stricter baseline: sets that crowd into the same layers overlap more by chance alone. The
    mean intersection is the sum over layers of ``a_l b_l / n_l``.

    Raises:
        MismatchError: when the sets belong to different models.
    """
    totals = a.real.sum(1).tolist()
    return _chance(len(a & b), a.counts.tolist(), b.counts.tolist(), totals)


def _chance(
    observed: int, counts_a: Sequence[int], counts_b: Sequence[int], totals: Sequence[int]
) -> Chance:
    """Chance for sets drawn in each stratum (one layer, or the whole model) independently."""
    lowest, probabilities = _intersection(counts_a, counts_b, totals)
    common = lowest + np.arange(len(probabilities))
    size_a, size_b = sum(counts_a), sum(counts_b)
    # By the means, where a measure is linear in the intersection: exact, without the tails' cut.
    mean = sum(a * b / n for a, b, n in zip(counts_a, counts_b, totals, strict=True) if n)
    ious = np.array([iou_of(int(i), size_a, size_b) for i in common])
    tail = float(probabilities[common >= observed].sum())
    return Chance(
        intersection=mean,
        overlap=overlap_of(1, size_a, size_b) * mean,
        iou=float(probabilities @ ious),
        max_ratio=max_ratio_of(1, size_a, size_b) * mean,
        p_value=min(1.0, max(tail, SMALLEST_P)),
    )


def _intersection(
    counts_a: Sequence[int], counts_b: Sequence[int], totals: Sequence[int]
) -> tuple[int, Float64[np.ndarray, "I"]]:
    """The distribution of |A∩B|: its lowest value, and the probabilities from there on.

    A sum of independent hypergeometric numbers, so their distributions are convolved. Tails below
    ``SMALLEST_P`` are cut on the way: they cost time and change nothing.
    """
    lowest, probabilities = 0, np.ones(1)
    for a, b, n in zip(counts_a, counts_b, totals, strict=True):
        least = max(0, a + b - n)
        first, layer = _cut(_hypergeometric(least, a, b, n))
        cut, probabilities = _cut(np.convolve(probabilities, layer))
        lowest += least + first + cut
    return lowest, probabilities


def _hypergeometric(least: int, a: int, b: int, n: int) -> Float64[np.ndarray, "I"]:
    """The probabilities that a and b of n things share ``least``, ``least + 1``, ... of them.

    By logarithms of factorials: scipy's own is a hundred times slower at these sizes.
    """
    common = np.arange(least, min(a, b) + 1)
    parts = np.stack([common, a - common, b - common, n - a - b + common])
    logs = -gammaln(parts + 1).sum(0)
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def _cut(probabilities: Float64[np.ndarray, "I"]) -> tuple[int, Float64[np.ndarray, "J"]]:
    """How many of the lowest values are cut off, and what is left between the tails."""
    kept = np.flatnonzero(probabilities >= SMALLEST_P)
    return int(kept[0]), probabilities[kept[0] : kept[-1] + 1]
