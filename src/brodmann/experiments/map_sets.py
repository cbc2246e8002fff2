"""The sets of a map: for each capability a raw one (the papers' rule) and a contrastive one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.experiments.map_config import MapConfig
from brodmann.neurons import NeuronScores, NeuronSet

RULES = ("raw", "contrast")
"""Selected from a capability's scores; from those minus the mean of the others'."""


@dataclass(frozen=True)
class MapSet:
    """A located set.

    Attributes:
        name: of its folder.
        capability: whose set it is.
        variant: what it was located on ("free", "matched", a view's name).
        rule: "raw" or "contrast".
        scores: what it was selected from.
        neurons: the set, of both halves of the examples together.
        halves: the sets of each half alone.
    """

    name: str
    capability: str
    variant: str
    rule: str
    scores: NeuronScores
    neurons: NeuronSet
    halves: tuple[NeuronSet, NeuronSet]

    @property
    def labels(self) -> dict[str, Any]:
        """What every row about the set begins with."""
        return {
            "set": self.name,
            "capability": self.capability,
            "variant": self.variant,
            "rule": self.rule,
        }


def select_sets(
    located: Mapping[str, Mapping[str, NeuronScores]], config: MapConfig
) -> list[MapSet]:
    """Select a raw and a contrastive set of every capability and variant.

    Args:
        located: variant -> capability -> scores of two interleaved halves.
        config: its rules are used.
    """
    return [
        _selected(rule, variant, capability, scores, config)
        for variant, scores in located.items()
        for rule in RULES
        for capability in scores
    ]


def rule_of(rule: str, config: MapConfig) -> dict[str, Any]:
    """Return the arguments of :meth:`NeuronScores.select` for a rule."""
    return dict(config.raw_rule if rule == "raw" else config.contrast_rule)


def set_rows(
    sets: Sequence[MapSet], parameters_per_neuron: Sequence[int], total_parameters: int
) -> list[dict[str, Any]]:
    """Describe the sets: size, shares of neurons and of parameters, neurons in each layer."""
    return [
        one.labels
        | {
            "neurons": len(one.neurons),
            "neurons_of_halves": [len(half) for half in one.halves],
            "share_of_neurons": one.neurons.share,
            "share_of_parameters": one.neurons.parameter_share(
                parameters_per_neuron, total_parameters
            ),
            "per_layer": one.neurons.counts.tolist(),
        }
        for one in sets
    ]


def file_names(capabilities: Sequence[str]) -> dict[str, str]:
    """Return a name for files for each capability: letters, digits, dots and dashes; all differ."""
    names: dict[str, str] = {}
    for capability in capabilities:
        plain = re.sub(r"[^\w.-]+", "_", capability).lstrip(".") or "capability"
        name, n = plain, 2
        while name in names.values():
            name, n = f"{plain}-{n}", n + 1
        names[capability] = name
    return names


def score_name(capability: str, variant: str, capabilities: Sequence[str]) -> str:
    """Return the name of the folder with a capability's scores."""
    name = file_names(capabilities)[capability]
    return name if variant == "free" else f"{name}.{variant}"


def _selected(
    rule: str,
    variant: str,
    capability: str,
    scores: Mapping[str, NeuronScores],
    config: MapConfig,
) -> MapSet:
    whole, first, second = _views_of(rule, capability, scores)
    chosen = rule_of(rule, config)
    return MapSet(
        f"{score_name(capability, variant, list(scores))}.{rule}",
        capability,
        variant,
        rule,
        whole,
        whole.select(**chosen),
        (first.select(**chosen), second.select(**chosen)),
    )


def _views_of(
    rule: str, capability: str, scores: Mapping[str, NeuronScores]
) -> Iterator[NeuronScores]:
    """Yield the scores to select from: of everything, of the first half, of the second."""
    for part in (lambda s: s, lambda s: s.half(0), lambda s: s.half(1)):
        own = part(scores[capability])
        if rule == "raw":
            yield own
        else:
            yield own.contrast([part(s) for name, s in scores.items() if name != capability])
