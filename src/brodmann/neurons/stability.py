"""How stable a selected set is: bootstrap intervals and convergence, from the blocks of samples."""

import math
from typing import Any

import numpy as np
import torch

from brodmann.errors import InputError
from brodmann.neurons.scores import NeuronScores, Rule
from brodmann.neurons.similarity import Measure, overlap


def overlap_interval(
    a: NeuronScores,
    b: NeuronScores,
    rule: Rule,
    *,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
    measure: Measure = overlap,
) -> tuple[float, float]:
    """Bootstrap interval of the similarity of the sets that a rule selects from two scores.

    Blocks of samples are drawn with replacement, independently for a and b; the rule runs on each
    draw; the interval is that of the draws' percentiles. Resampling adds noise to scores that are
    noisy already, so where sets are unstable the interval lies somewhat low.

    Args:
        a: scores with blocks of samples.
        b: scores of other samples.
        rule: from scores to a set, e.g. ``NeuronScores.select``.
        draws: how many resamples.
        level: of the interval.
        seed: of the draws.
        measure: which similarity.

    Returns:
        Lower and upper end; NaN where both sets were empty in every draw.

    Raises:
        InputError: when the scores have fewer than two blocks of samples.
    """
    generator = np.random.default_rng(seed)
    found = [
        measure(rule(_resampled(a, generator)), rule(_resampled(b, generator)))
        for _ in range(draws)
    ]
    defined = [value for value in found if not math.isnan(value)]
    if not defined:
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def convergence(scores: NeuronScores, rule: Rule = NeuronScores.select) -> list[dict[str, Any]]:
    """How the selected set settles with the number of samples (cnl.txt Fig. 6).

    Args:
        scores: scores with blocks of samples.
        rule: from scores to a set.

    Returns:
        One row per number of blocks: ``blocks``, ``samples``, ``neurons`` selected,
        ``overlap_with_final`` (with the set of all blocks), and ``overlap_of_halves`` (between the
        sets of its even and its odd blocks; None for a single block).

    Raises:
        InputError: when the scores have no blocks of samples.
    """
    filled = int((scores.block_counts > 0).sum())
    if filled == 0:
        raise InputError("Expected scores with blocks of samples; these have none.")
    parts = scores.reweighted((scores.block_counts > 0).long())
    final = rule(parts)
    rows = []
    for blocks in range(1, filled + 1):
        first = parts.reweighted((torch.arange(filled) < blocks).long())
        found = rule(first)
        halves = [rule(first.half(which)) for which in (0, 1)] if blocks > 1 else []
        rows.append(
            {
                "blocks": blocks,
                "samples": first.n_samples,
                "neurons": len(found),
                "overlap_with_final": overlap(found, final),
                "overlap_of_halves": overlap(*halves) if halves else None,
            }
        )
    return rows


def _resampled(scores: NeuronScores, generator: np.random.Generator) -> NeuronScores:
    filled = (scores.block_counts > 0).nonzero()[:, 0]
    if len(filled) < 2:
        raise InputError("Expected scores with two filled blocks of samples or more; got fewer.")
    drawn = filled[torch.from_numpy(generator.integers(len(filled), size=len(filled)))]
    return scores.reweighted(torch.bincount(drawn, minlength=len(scores.block_counts)))
