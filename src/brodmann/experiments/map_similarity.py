"""How alike the sets of a map are, with intervals and chance levels (methods.md §5)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

import torch

from brodmann.experiments.map_config import MapConfig
from brodmann.experiments.map_resample import (
    Draws,
    Key,
    max_ratios,
    resampled_sets,
    shifted_interval,
)
from brodmann.experiments.map_sets import RULES, MapSet, rule_of
from brodmann.neurons import (
    NeuronScores,
    NeuronSet,
    chance,
    layer_matched_chance,
    max_ratio,
)

_SIZES = (2, 4, 8, 12, 16, 20, 24, 28, 32)
"""Blocks of samples at which convergence is looked at."""

Resampled = Mapping[str, Mapping[Key, Draws]]


def similarity_rows(
    sets: Sequence[MapSet],
    located: Mapping[str, Mapping[str, NeuronScores]],
    config: MapConfig,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare the sets of a map.

    Every similarity is ``|A∩B| / max(|A|, |B|)`` (DCSN Eq. 3). Kinds:

    * cohesion: the two halves of one capability;
    * across: half 0 of one capability, half 1 of another: what cohesion is to be compared with;
    * separability: two capabilities, each located on all of its samples;
    * answers: one capability, with answers free and with answers matched across operators;
    * view: one capability, asked in two ways (task, language, template).

    Returns:
        The rows of similarities, and those of specificity (within − across).
    """
    resampled = {variant: resampled_sets(scores, config) for variant, scores in located.items()}
    by = {(one.variant, one.rule, one.capability): one for one in sets}
    rows, specific = [], []
    for variant, scores in located.items():
        for rule in RULES:
            own = [by[variant, rule, name] for name in scores]
            rows += _within_and_across(own, resampled[variant])
            specific += _specificity(own, resampled[variant])
    rows += [
        _row(kind, (a, a.neurons, "whole"), (b, b.neurons, "whole"), resampled)
        for kind, a, b in _between_variants(by, list(located), config)
    ]
    return rows, specific


def convergence_rows(sets: Sequence[MapSet], config: MapConfig) -> list[dict[str, Any]]:
    """How each set settles with the number of samples (cnl.txt Fig. 6), at a few sizes.

    ``cohesion`` is that of the sets of the two halves of so many samples, and ``kept`` the
    likeness to the set of all samples.
    """
    rows = []
    for one in sets:
        rule = rule_of(one.rule, config)
        filled = one.scores.block_counts > 0
        total = len(filled) if bool(filled.all()) else 0
        for blocks in (size for size in _SIZES if size <= total):
            first = one.scores.reweighted((torch.arange(total) < blocks).long())
            found = first.select(**rule)
            halves = [first.half(which).select(**rule) for which in (0, 1)]
            rows.append(
                one.labels
                | {"samples": first.n_samples, "neurons": len(found)}
                | {"cohesion": _known(max_ratio(*halves))}
                | {"kept": _known(max_ratio(found, one.neurons))}
            )
    return rows


def _within_and_across(own: Sequence[MapSet], masks: Mapping[Key, Draws]) -> list[dict[str, Any]]:
    resampled = {own[0].variant: masks}
    rows = [
        _row("cohesion", (one, one.halves[0], "half 0"), (one, one.halves[1], "half 1"), resampled)
        for one in own
    ]
    rows += [
        _row("across", (a, a.halves[0], "half 0"), (b, b.halves[1], "half 1"), resampled)
        for a, b in permutations(own, 2)
    ]
    return rows + [
        _row("separability", (a, a.neurons, "whole"), (b, b.neurons, "whole"), resampled)
        for a, b in combinations(own, 2)
    ]


def _between_variants(
    by: Mapping[tuple[str, str, str], MapSet], variants: Sequence[str], config: MapConfig
) -> Iterator[tuple[str, MapSet, MapSet]]:
    for first, second in combinations(variants, 2):
        answers = {first, second} <= set(config.answers)
        if not answers and {first, second} & (set(config.answers) - {variants[0]}):
            continue  # views are compared with the main variant and each other
        for (variant, rule, name), one in by.items():
            if variant == first:
                yield "answers" if answers else "view", one, by[second, rule, name]


def _row(
    kind: str,
    a: tuple[MapSet, NeuronSet, str],
    b: tuple[MapSet, NeuronSet, str],
    resampled: Resampled,
) -> dict[str, Any]:
    (one, first, part), (other, second, other_part) = a, b
    value = max_ratio(first, second)
    draws = max_ratios(
        resampled[one.variant][one.rule, one.capability, part],
        resampled[other.variant][other.rule, other.capability, other_part],
    )
    low, high = shifted_interval(value, draws)
    uniform, layered = chance(first, second), layer_matched_chance(first, second)
    return {
        "kind": kind,
        "rule": one.rule,
        "variant": one.variant,
        "other_variant": other.variant,
        "a": one.capability,
        "b": other.capability,
        "size_a": len(first),
        "size_b": len(second),
        "shared": len(first & second),
        "value": _known(value),
        "low": low,
        "high": high,
        "chance": _known(uniform.max_ratio),
        "chance_layer_matched": _known(layered.max_ratio),
        "p_layer_matched": layered.p_value if len(first) and len(second) else None,
    }


def _specificity(own: Sequence[MapSet], masks: Mapping[Key, Draws]) -> list[dict[str, Any]]:
    """Within − across for each capability, at one sample size: halves against halves."""
    rows = []
    for one in own:
        others = [other for other in own if other is not one]
        within = max_ratio(*one.halves)
        across = _mean(
            [max_ratio(one.halves[0], o.halves[1]) for o in others]
            + [max_ratio(o.halves[0], one.halves[1]) for o in others]
        )
        half = [masks[one.rule, one.capability, f"half {which}"] for which in (0, 1)]
        pairs = []
        for other in others:
            theirs = [masks[other.rule, other.capability, f"half {which}"] for which in (0, 1)]
            pairs += [max_ratios(half[0], theirs[1]), max_ratios(theirs[0], half[1])]
        across_draws = [_mean(draw) for draw in zip(*pairs, strict=True)]
        draws = [w - a for w, a in zip(max_ratios(*half), across_draws, strict=True)]
        low, high = shifted_interval(within - across, draws, (-1.0, 1.0))
        across_low, across_high = shifted_interval(across, across_draws)
        rows.append(
            one.labels
            | {"within": _known(within), "across": _known(across)}
            | {"across_low": across_low, "across_high": across_high}
            | {"difference": _known(within - across), "low": low, "high": high}
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
