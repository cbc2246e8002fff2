"""Comparison rows against the measures one by one, and rank correlation on known orders."""

import pytest
import torch

from brodmann.errors import MismatchError
from brodmann.neurons import NeuronScores, NeuronSet, chance, iou, layer_matched_chance, overlap
from brodmann.neurons.comparison import comparison_rows, rank_correlation


def scores_of(values: list[list[float]], fingerprint: str = "f") -> NeuronScores:
    tensor = torch.tensor(values)
    return NeuronScores.from_sums(
        tensor[None].double(),
        torch.tensor([1]),
        tensor.double() ** 2,
        torch.ones_like(tensor, dtype=torch.bool),
        dtype=torch.float32,
        provenance={"model": "m", "fingerprint": fingerprint},
    )


def test_a_row_for_every_pair_with_every_measure():
    a = NeuronSet.from_pairs([(0, 0), (0, 1), (1, 2)], 2, 10)
    b = NeuronSet.from_pairs([(0, 1), (1, 2), (1, 3), (1, 4)], 2, 10)
    c = NeuronSet.from_pairs([(1, 9)], 2, 10)
    rows = comparison_rows([("a", a), ("b", b), ("c", c)])
    assert [(row["a"], row["b"], row["common"]) for row in rows] == [
        ("a", "b", 2),
        ("a", "c", 0),
        ("b", "c", 0),
    ]
    first = rows[0]
    assert (first["overlap"], first["iou"]) == (overlap(a, b), iou(a, b))
    assert first["max_ratio"] == 2 / 4
    assert first["overlap_by_chance"] == chance(a, b).overlap
    assert first["p_layer_matched"] == layer_matched_chance(a, b).p_value
    assert "rank_correlation" not in first


def test_rank_correlation_looks_at_order_only():
    up = scores_of([[1.0, 2.0, 3.0, 4.0]])
    assert rank_correlation(up, scores_of([[1.0, 10.0, 100.0, 1000.0]])) == pytest.approx(1)
    assert rank_correlation(up, scores_of([[4.0, 3.0, 2.0, 1.0]])) == pytest.approx(-1)
    assert rank_correlation(up, scores_of([[2.0, 1.0, 4.0, 3.0]])) == pytest.approx(0.6)


def test_scores_of_another_model_are_refused():
    with pytest.raises(MismatchError):
        rank_correlation(scores_of([[1.0, 2.0]]), scores_of([[1.0, 2.0]], "g"))
