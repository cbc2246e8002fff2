"""Bootstrap over blocks of samples: which neurons would have been selected from other samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from brodmann.experiments.map_config import MapConfig
from brodmann.experiments.map_sets import RULES, rule_of
from brodmann.neurons import NeuronScores, sigma_mask
from brodmann.neurons.similarity import max_ratio_of
from brodmann.shapes import LayerNeuronMask

Masks = Bool[Tensor, "R L N"]
"""The neurons selected from each bootstrap draw."""

Draws = list[frozenset[int]]
"""The same as numbers of neurons: sets are small, and quickly compared as such."""

Key = tuple[str, str, str]
"""Rule, capability, part ("whole", "half 0", "half 1")."""

_CHUNK = 8
_PARTS = {"whole": (0, 1), "half 0": (0,), "half 1": (1,)}


def resampled_sets(scores: Mapping[str, NeuronScores], config: MapConfig) -> dict[Key, Draws]:
    """Select the sets again from resampled blocks of samples.

    Within each half the blocks are drawn with replacement; capabilities draw the same blocks, for
    their rows share the solved examples in front.

    Args:
        scores: capability -> scores of two interleaved halves.
        config: its rules, number of resamples and seed are used.
    """
    found: dict[Key, Draws] = {}
    for start in range(0, config.resamples, _CHUNK):
        count = min(_CHUNK, config.resamples - start)
        for part, halves in _PARTS.items():
            values = {
                name: _resampled(s, halves, count, [config.seed, start])
                for name, s in scores.items()
            }
            for rule in RULES:
                for name, own in values.items():
                    others = [value for other, value in values.items() if other != name]
                    chosen = own if rule == "raw" else own - torch.stack(others).mean(0)
                    masks = _selected(chosen, scores[name], rule_of(rule, config))
                    found.setdefault((rule, name, part), []).extend(_numbers(masks))
    return found


def shifted_interval(
    estimate: float, draws: Sequence[float], bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float | None, float | None]:
    """Return the 95% bootstrap interval around an estimate.

    Sets of resampled scores agree less than sets of the samples themselves: resampling adds noise
    to scores that are noisy already. So the spread of the draws is used, about the estimate, and
    not where the draws lie.

    Returns:
        Lower and upper end; None where nothing is known.
    """
    known = [value for value in draws if value == value]
    if not known or estimate != estimate:
        return None, None
    low, middle, high = np.quantile(known, [0.025, 0.5, 0.975])
    smallest, largest = bounds
    return (
        float(min(largest, max(smallest, estimate + low - middle))),
        float(min(largest, max(smallest, estimate + high - middle))),
    )


def max_ratios(a: Draws, b: Draws) -> list[float]:
    """Return ``|A∩B| / max(|A|, |B|)`` of each draw; NaN where both sets are empty."""
    return [max_ratio_of(len(x & y), len(x), len(y)) for x, y in zip(a, b, strict=True)]


def _numbers(masks: Masks) -> Draws:
    return [frozenset(mask.flatten().nonzero()[:, 0].tolist()) for mask in masks]


def _resampled(
    scores: NeuronScores, halves: Sequence[int], count: int, seed: Sequence[int]
) -> Float64[Tensor, "R L N"]:
    """Return the mean scores of ``count`` resamples; each half keeps its number of blocks."""
    filled = (scores.block_counts > 0).numpy()
    times = np.zeros((count, len(filled)))
    for half in halves:
        places = np.flatnonzero(filled & (np.arange(len(filled)) % 2 == half))
        rng = np.random.default_rng([*seed, half])
        for row in times:
            np.add.at(row, rng.choice(places, size=len(places)), 1)
    weights = torch.from_numpy(times) * scores.block_counts
    weights = weights / weights.sum(1, keepdim=True)
    mean = weights.double() @ scores.block_means.double().flatten(1)
    return mean.reshape(count, *scores.values.shape)


def _selected(
    values: Float64[Tensor, "R L N"], scores: NeuronScores, rule: Mapping[str, Any]
) -> Masks:
    if rule["dispersion"] != "std" or rule.get("exclude_last_layers"):
        return torch.stack([sigma_mask(draw, scores.real, **rule) for draw in values])
    return std_masks(values, scores.real, rule["sigma"], rule["scope"], rule["sign"])


def std_masks(
    values: Float64[Tensor, "R L N"],
    real: LayerNeuronMask,
    sigma: int | float,
    scope: str,
    sign: str,
) -> Masks:
    """Apply :func:`brodmann.neurons.sigma_mask` with the standard deviation to many draws at once.

    Thousands of draws are selected from; one by one that takes longer than to locate.
    """
    axes = (1, 2) if scope == "global" else (2,)
    n = real.sum() if scope == "global" else real.sum(1, keepdim=True)
    centred = (values - (values * real).sum(axes, keepdim=True) / n) * real
    spread = (centred.square().sum(axes, keepdim=True) / n).sqrt()
    flat = values.masked_fill(~real, -torch.inf).amax(axes, keepdim=True) == values.masked_fill(
        ~real, torch.inf
    ).amin(axes, keepdim=True)
    fires = (n > sigma**2 + 1) & ~flat & (spread > 0)
    side = {"both": centred.abs(), "positive": centred, "negative": -centred}[sign]
    return (side > sigma * spread) & fires & real
