"""Random sets of neurons of exactly the same size: what an effect is compared with."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from brodmann.errors import InputError
from brodmann.neurons.neuron_set import NeuronSet
from brodmann.shapes import LayerNeuron, LayerNeuronMask

MATCHES = ("layer", "activation", "none")
"""What a random set may have in common with the set it stands beside."""

NORM_BINS = 10
"""Bins of equal count that ``match="activation"`` sorts a layer's neurons into."""


def random_sets(
    neurons: NeuronSet,
    n_draws: int,
    match: str = "layer",
    *,
    seed: int = 0,
    avoid: NeuronSet | None = None,
    norms: LayerNeuron | None = None,
) -> list[NeuronSet]:
    """Draw sets of as many neurons as a given one, to compare its effect with (methods.md §7).

    A set shares no neuron with the given one as long as enough others exist; a layer of which
    more than half is in the set is drawn from as a whole. Draw i depends on the set, ``match``,
    ``seed`` and i, not on how many draws are asked for.

    Args:
        neurons: the set to match.
        n_draws: how many sets. 99 or more where a p is claimed.
        match: "layer": as many neurons in each layer. "activation": in each layer, as many out of
            each tenth of the layer's neurons by activation norm; a tenth that has too few others
            borrows from the nearest one. "none": as many in the whole model.
        seed: of the draws.
        avoid: neurons never to draw.
        norms: mean |z| of each neuron, needed by "activation".

    Raises:
        InputError: when a layer (or the model) has too few neurons, or an argument is off.
    """
    if match not in MATCHES:
        raise InputError(f"Expected match {', '.join(MATCHES)}; got '{match}'.")
    if n_draws < 0:
        raise InputError(f"Expected 0 or more draws; got {n_draws}.")
    if match == "activation" and (norms is None or norms.shape != neurons.mask.shape):
        raise InputError(
            "Expected norms, mean |z| as [layers, neurons] of this model, for match='activation'."
        )
    strata = _strata(neurons, match, norms)
    pools = _pools(neurons, avoid, match)
    provenance = _provenance(neurons) | {"match": match, "seed": seed}
    sets = []
    for draw in range(n_draws):
        rng = np.random.default_rng([seed, draw])
        mask = torch.zeros_like(neurons.mask)
        for where, pool in pools:
            mask |= _draw(rng, neurons.mask & where, pool, strata)
        sets.append(NeuronSet.from_mask(mask, neurons.real, provenance | {"draw": draw}))
    return sets


def _provenance(neurons: NeuronSet) -> dict[str, object]:
    kept = {name: neurons.provenance.get(name) for name in ("fingerprint", "model")}
    return {name: value for name, value in kept.items() if value is not None} | {"method": "random"}


def _strata(neurons: NeuronSet, match: str, norms: Tensor | None) -> Tensor:
    """Return the number of each neuron's bin of norms in its layer; without norms all are 0."""
    bins = torch.zeros(neurons.mask.shape, dtype=torch.long)
    if match != "activation" or norms is None:
        return bins
    for layer, real in enumerate(neurons.real):
        places = real.nonzero()[:, 0]
        order = places[norms[layer].detach().cpu()[places].argsort(stable=True)]
        bins[layer, order] = torch.arange(len(order)) * NORM_BINS // max(1, len(order))
    return bins


def _pools(
    neurons: NeuronSet, avoid: NeuronSet | None, match: str
) -> list[tuple[LayerNeuronMask, LayerNeuronMask]]:
    """Return, for each part of the model to match in, where it is and what may be drawn there."""
    allowed = (neurons if avoid is None else neurons | avoid).real
    if avoid is not None:
        allowed &= ~avoid.mask
    pools = []
    for name, where in _parts(neurons.mask, match):
        needed = int((neurons.mask & where).sum())
        pool = allowed & where & ~neurons.mask
        if int(pool.sum()) < needed:
            pool = allowed & where
        if int(pool.sum()) < needed:
            raise InputError(
                f"Expected at least {needed} neurons to draw from in {name}; it has "
                f"{int(pool.sum())}. Avoid fewer neurons, or take match='none'."
            )
        if needed:
            pools.append((where, pool))
    return pools


def _parts(mask: LayerNeuronMask, match: str) -> list[tuple[str, Bool[Tensor, "L N"]]]:
    if match == "none":
        return [("the model", torch.ones_like(mask))]
    parts = []
    for layer in range(mask.shape[0]):
        where = torch.zeros_like(mask)
        where[layer] = True
        parts.append((f"layer {layer}", where))
    return parts


def _draw(
    rng: np.random.Generator, wanted: Tensor, pool: LayerNeuronMask, strata: Tensor
) -> LayerNeuronMask:
    """Draw as many of the pool as are wanted, stratum by stratum."""
    counts = np.bincount(strata[wanted].numpy(), minlength=NORM_BINS)
    candidates = rng.permutation(pool.flatten().nonzero()[:, 0].numpy())
    bins = strata.flatten().numpy()[candidates]
    left = [candidates[bins == number].tolist() for number in range(NORM_BINS)]
    chosen: list[int] = []
    short: list[int] = []
    for number, count in enumerate(counts):
        chosen += left[number][:count]
        short += [number] * (int(count) - len(left[number][:count]))
        left[number] = left[number][count:]
    for number in short:
        chosen.append(_nearest(left, number).pop())
    drawn = torch.zeros(pool.numel(), dtype=torch.bool)
    drawn[torch.tensor(chosen, dtype=torch.long)] = True
    return drawn.view_as(pool)


def _nearest(left: Sequence[list[int]], number: int) -> list[int]:
    filled = [other for other, entries in enumerate(left) if entries]
    return left[min(filled, key=lambda other: abs(other - number))]
