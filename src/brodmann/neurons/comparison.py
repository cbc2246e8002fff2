"""`comparison_rows`: all measures of every pair of sets, each beside its chance level."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from scipy.stats import spearmanr

from brodmann.neurons.chance import chance, layer_matched_chance
from brodmann.neurons.neuron_set import NeuronSet
from brodmann.neurons.provenance import check_same_model, check_same_neurons
from brodmann.neurons.scores import NeuronScores
from brodmann.neurons.similarity import iou, max_ratio, overlap


def comparison_rows(
    sets: Sequence[tuple[str, NeuronSet]], scores: Mapping[str, NeuronScores] | None = None
) -> list[dict[str, Any]]:
    """Compare every pair of named sets.

    Args:
        sets: names and sets of one model.
        scores: by the same names, where they are known.

    Returns:
        One row per pair: the sizes, the intersection, overlap, IoU and max ratio, the mean overlap
        of random sets of these sizes, the probability that random sets share as many (drawn from
        the whole model, and layer by layer), and where both have scores their rank correlation.

    Raises:
        MismatchError: when the sets belong to different models.
    """
    return [_row(a, b, scores or {}) for a, b in combinations(sets, 2)]


def rank_correlation(a: NeuronScores, b: NeuronScores) -> float:
    """Spearman's rank correlation of two scores over all neurons, from -1 to 1.

    Raises:
        MismatchError: when the scores belong to different models.
    """
    check_same_model(a.provenance, b.provenance, "scores")
    check_same_neurons(a.real, b.real, "scores")
    return float(spearmanr(a.values[a.real].numpy(), b.values[b.real].numpy()).statistic)


def _row(
    first: tuple[str, NeuronSet], second: tuple[str, NeuronSet], scores: Mapping[str, NeuronScores]
) -> dict[str, Any]:
    (name_a, a), (name_b, b) = first, second
    anywhere, matched = chance(a, b), layer_matched_chance(a, b)
    row: dict[str, Any] = {
        "a": name_a,
        "b": name_b,
        "size_a": len(a),
        "size_b": len(b),
        "common": len(a & b),
        "overlap": overlap(a, b),
        "overlap_by_chance": anywhere.overlap,
        "iou": iou(a, b),
        "max_ratio": max_ratio(a, b),
        "p": anywhere.p_value,
        "p_layer_matched": matched.p_value,
    }
    if name_a in scores and name_b in scores:
        row["rank_correlation"] = rank_correlation(scores[name_a], scores[name_b])
    return row
