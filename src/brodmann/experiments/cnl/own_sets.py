"""The neurons of single prompts: each prompt's own scores, and what a rule selects from them."""

from collections.abc import Mapping, Sequence
from typing import Any

from brodmann.data import Example
from brodmann.experiments.cnl.alike import Universe
from brodmann.experiments.examples_digest import examples_digest
from brodmann.experiments.partial import say
from brodmann.experiments.workbench import Workbench
from brodmann.localize import METHODS
from brodmann.neurons import NeuronScores, NeuronSet

CHUNK = 16
"""Prompts that are scored in one pass and kept in one piece: sums of each are held meanwhile."""

Rules = Mapping[str, Mapping[str, Any]]
"""Name -> ``{"t": share of the largest score}`` (KN), or arguments of ``NeuronScores.select``."""


def own_sets(
    bench: Workbench,
    examples: Sequence[Example],
    method: str,
    options: Mapping[str, Any],
    rules: Rules,
) -> dict[str, list[frozenset[int]]]:
    """Select neurons from each example's own scores.

    Args:
        bench: the model.
        examples: the prompts.
        method: ``"kn"`` or ``"cnl"``.
        options: the method's own.
        rules: what to select by.

    Returns:
        Rule -> the set of each example, as numbers of neurons in :func:`neuron_universe`.
    """
    found: dict[str, list[frozenset[int]]] = {name: [] for name in rules}
    for start in range(0, len(examples), CHUNK):
        part = examples[start : start + CHUNK]
        key = {"own sets": examples_digest(part), "method": method, "options": dict(options)}
        for row in bench.piece(
            key | {"rules": {name: dict(rule) for name, rule in rules.items()}},
            lambda part=part, start=start: _scored(
                bench, part, method, options, rules, f"{start}/{len(examples)}"
            ),
        ):
            for name in rules:
                found[name].append(frozenset(row[name]))
    return found


def neuron_universe(bench: Workbench) -> Universe:
    """Return what neurons are drawn from: layer by layer, in the width of the widest."""
    real = bench.model.real
    return Universe(real.shape[1], tuple(int(size) for size in real.sum(1)))


def numbers_of(neurons: NeuronSet) -> frozenset[int]:
    """Return the numbers of a set's neurons in :func:`neuron_universe`."""
    return frozenset(neurons.mask.flatten().nonzero()[:, 0].tolist())


def set_of(bench: Workbench, numbers: frozenset[int]) -> NeuronSet:
    """Return the set of neurons with these numbers."""
    model = bench.model
    width = model.real.shape[1]
    about = {"model": model.name, "fingerprint": bench.fingerprint}
    pairs = [divmod(number, width) for number in sorted(numbers)]
    return NeuronSet.from_pairs(pairs, *model.real.shape, real=model.real.cpu(), provenance=about)


def selected(scores: NeuronScores, rule: Mapping[str, Any]) -> NeuronSet:
    """Select by a rule: above ``t`` times the largest score (KN), or by standard deviations."""
    if "t" not in rule:
        return scores.select(**rule)
    largest = scores.values.max().clamp_min(0)
    mask = (scores.values > rule["t"] * largest) & scores.real
    return NeuronSet.from_mask(mask, scores.real, scores.provenance | {"rule": dict(rule)})


def _scored(
    bench: Workbench,
    examples: Sequence[Example],
    method: str,
    options: Mapping[str, Any],
    rules: Rules,
    done: str,
) -> list[dict[str, list[int]]]:
    say(f"{bench.name}: locating ({method}) on each of {len(examples)} prompts, {done} done")
    groups = {str(number): [one] for number, one in enumerate(examples)}
    scores = METHODS.get(method)(
        bench.model, groups, batch_size=bench.batch_size, progress=False, **options
    )
    return [
        {name: sorted(numbers_of(selected(one, rule))) for name, rule in rules.items()}
        for one in scores.values()
    ]
