"""Locate every capability on two halves, and keep both in one value."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from brodmann.experiments.map_config import MapConfig
from brodmann.experiments.map_data import Variant
from brodmann.localize import METHODS
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores


def locate_variant(
    model: LanguageModel,
    variant: Variant,
    config: MapConfig,
    checkpoint: Path,
) -> dict[str, NeuronScores]:
    """Score every neuron for each capability of a variant, in one pass.

    Returns:
        Capability -> scores of both halves together; ``scores.half(0)`` and ``scores.half(1)``
        are those of each half.

    Raises:
        UnknownNameError: no such method.
        DataError: examples that cannot be used.
    """
    groups = {
        f"{capability} {which}": half
        for capability, halves in variant.halves.items()
        for which, half in enumerate(halves)
    }
    found = METHODS.get(config.method)(
        model, groups, batch_size=config.batch_size, checkpoint=checkpoint
    )
    return {
        capability: interleaved(
            found[f"{capability} 0"],
            found[f"{capability} 1"],
            {"data": spec, "group": capability, "seed": config.seed, "halves": variant.how},
        )
        for capability, spec in variant.specs.items()
    }


def interleaved(
    first: NeuronScores, second: NeuronScores, note: Mapping[str, object]
) -> NeuronScores:
    """Return the scores of two samples together, their blocks taking turns.

    So ``half(0)`` of the result is the first sample and ``half(1)`` the second.

    Args:
        first: scores of one sample.
        second: scores of another, with as many blocks.
        note: what to add to the provenance.
    """
    n, m = first.n_samples, second.n_samples
    weights = ((n, first), (m, second))
    values = _sum(k * s.values.double() for k, s in weights) / (n + m)
    # Unbiased again: the squares within the samples, and those between their means.
    squares = _sum(
        (k - 1) * s.variance.double().nan_to_num() + k * (s.values.double() - values) ** 2
        for k, s in weights
    )
    blocks = torch.stack([first.block_means, second.block_means], 1).flatten(0, 1)
    counts = torch.stack([first.block_counts, second.block_counts], 1).flatten()
    return NeuronScores(
        values.to(first.values.dtype),
        (squares / (n + m - 1)).to(first.variance.dtype),
        n + m,
        blocks,
        counts,
        first.real,
        first.provenance | dict(note),
    )


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum(0)
