"""`pooled`: the scores of several samples as if they had been one."""

from collections.abc import Sequence

import torch

from brodmann.errors import InputError
from brodmann.neurons.provenance import Provenance, check_same_model, check_same_neurons
from brodmann.neurons.scores import NeuronScores


def pooled(parts: Sequence[NeuronScores], provenance: Provenance) -> NeuronScores:
    """Scores over all samples of several scores, block by block.

    Args:
        parts: scores of one model with as many blocks each.
        provenance: of the result; must hold "model" and "fingerprint".

    Raises:
        InputError: no parts.
        MismatchError: when the scores belong to different models.
    """
    if not parts:
        raise InputError("Expected scores to pool; got none.")
    first = parts[0]
    for part in parts[1:]:
        check_same_model(first.provenance, part.provenance, "scores")
        check_same_neurons(first.real, part.real, "scores")
    counts = torch.stack([part.block_counts for part in parts])
    blocks = torch.stack([part.block_means.double() for part in parts])
    squares = [
        (part.n_samples - 1) * part.variance.double().nan_to_num()
        + part.n_samples * part.values.double() ** 2
        for part in parts
    ]
    return NeuronScores.from_sums(
        (blocks * counts[:, :, None, None]).sum(0),
        counts.sum(0),
        torch.stack(squares).sum(0),
        first.real,
        dtype=first.values.dtype,
        provenance=provenance,
    )
