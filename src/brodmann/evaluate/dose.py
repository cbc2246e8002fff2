"""Dose and response: the effect of growing parts of a set."""

from collections.abc import Callable, Sequence
from typing import Any

from brodmann.neurons.neuron_set import NeuronSet, Scored

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
"""The parts of a set that a dose-response curve tries."""


def dose_response(
    neurons: NeuronSet,
    scores: Scored,
    effect: Callable[[NeuronSet], float],
    fractions: Sequence[float] = FRACTIONS,
) -> list[dict[str, Any]]:
    """Measure an effect on growing parts of a set, the neurons of largest |score| first.

    Args:
        neurons: the set.
        scores: the scores that order its neurons.
        effect: called with each part; erases it and measures, say.
        fractions: the parts, each in (0, 1].

    Returns:
        A row for each part: ``fraction``, ``neurons`` (how many), ``effect``.

    Raises:
        InputError: when a fraction is out of range, or the scores are another model's.
    """
    parts = [neurons.strongest(scores, fraction) for fraction in fractions]
    return [
        {"fraction": float(fraction), "neurons": len(part), "effect": float(effect(part))}
        for fraction, part in zip(fractions, parts, strict=True)
    ]
