"""How alike sets of neurons are (methods.md §5). The chance levels are in ``chance.py``.

Every measure runs from 0 (disjoint) to 1 (equal), refuses sets of different models, is 0 when one
of the sets is empty, and NaN when all are: nothing can be said of how alike two nothings are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from brodmann.errors import InputError
from brodmann.neurons.neuron_set import NeuronSet

Measure = Callable[[NeuronSet, NeuronSet], float]
"""A similarity of two sets, from 0 to 1."""


def overlap(a: NeuronSet, b: NeuronSet) -> float:
    """The mean of ``|A∩B| / |A|`` and ``|A∩B| / |B|`` (CNL Eq. 9)."""
    return overlap_of(len(a & b), len(a), len(b))


def iou(a: NeuronSet, b: NeuronSet) -> float:
    """``|A∩B| / |A∪B|``, intersection over union (CNL Eq. 9)."""
    return iou_of(len(a & b), len(a), len(b))


def max_ratio(a: NeuronSet, b: NeuronSet) -> float:
    """``|A∩B| / max(|A|, |B|)`` (DCSN Eq. 3, whose printed denominator lacks the bars)."""
    return max_ratio_of(len(a & b), len(a), len(b))


def separability(a: NeuronSet, b: NeuronSet) -> float:
    """:func:`max_ratio` between two capabilities (DCSN Eq. 3): lower is better."""
    return max_ratio(a, b)


def cohesion(a: NeuronSet, b: NeuronSet) -> float:
    """:func:`max_ratio` between data sets, tasks or languages of one capability: higher is better.

    DCSN Eq. 3.
    """
    return max_ratio(a, b)


def overlap_of(common: int, a: int, b: int) -> float:
    """:func:`overlap` of sets with so many neurons in common, and in each."""
    if not a or not b:
        return 0.0 if a or b else math.nan
    return (common / a + common / b) / 2


def iou_of(common: int, a: int, b: int) -> float:
    """:func:`iou` of sets with so many neurons in common, and in each."""
    return common / (a + b - common) if a or b else math.nan


def max_ratio_of(common: int, a: int, b: int) -> float:
    """:func:`max_ratio` of sets with so many neurons in common, and in each."""
    return common / max(a, b) if a or b else math.nan


def coincidence(first: Sequence[NeuronSet], second: Sequence[NeuronSet]) -> float:
    """Mean over pairs of how far the sets of two versions of one sample agree (CNL Eq. 6, t ≠ t*).

    The paper divides ``|A∩B|`` by "L·T", the neurons of all layers, and leaves T open; here it is
    the larger set, so that equal sets coincide by 1. Pairs of empty sets are left out.

    Args:
        first: one set per sample, of version t.
        second: one set per sample, of version t*, in the same order.

    Raises:
        InputError: when the lengths differ or are zero.
    """
    if len(first) != len(second) or not first:
        raise InputError(f"Expected as many first sets as second; got {len(first)}, {len(second)}.")
    return _mean([max_ratio(a, b) for a, b in zip(first, second, strict=True)])


def coincidence_core(sets: Sequence[NeuronSet]) -> float:
    """The neurons that all samples share, over the largest sample's set (CNL Eq. 6, t = t*).

    Raises:
        InputError: when there are no sets.
    """
    if not sets:
        raise InputError("Expected one set or more; got none.")
    core = sets[0]
    for other in sets[1:]:
        core = core & other
    largest = max(len(one) for one in sets)
    return len(core) / largest if largest else math.nan


class Specificity(NamedTuple):
    """How much more alike sets of one capability are than sets of different ones.

    Attributes:
        within: mean similarity of sets of one capability.
        across: mean similarity of sets of different capabilities.
        difference: within − across; at most 1, and 0 where nothing is specific.
    """

    within: float
    across: float
    difference: float


def specificity(
    groups: Mapping[str, Sequence[NeuronSet]], measure: Measure = overlap
) -> Specificity:
    """Compare the similarity within capabilities with that across them.

    Args:
        groups: for each capability, its sets from disjoint samples, tasks or languages.
        measure: which similarity.

    Returns:
        Means over all pairs; NaN where there is no pair.
    """
    tagged = [(name, one) for name, sets in groups.items() for one in sets]
    pairs = [(m == n, measure(a, b)) for (m, a), (n, b) in combinations(tagged, 2)]
    within = _mean([value for same, value in pairs if same])
    across = _mean([value for same, value in pairs if not same])
    return Specificity(within, across, within - across)


def overlap_matrix(
    rows: Sequence[NeuronSet],
    columns: Sequence[NeuronSet] | None = None,
    measure: Measure = overlap,
) -> Float64[Tensor, "R C"]:
    """Return the similarity of each row's set with each column's; the columns are the rows' sets
    unless others are given.
    """  # noqa: D205
    columns = rows if columns is None else columns
    cells = [[measure(row, column) for column in columns] for row in rows]
    return torch.tensor(cells, dtype=torch.float64).reshape(len(rows), len(columns))


def _mean(values: Sequence[float]) -> float:
    """The mean of what is defined."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
