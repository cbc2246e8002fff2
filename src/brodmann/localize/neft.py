"""NeFT (Xu et al. 2025): the neurons that a full fine-tune has turned most."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.models.neuron_parameters import NeuronSlice, neuron_slices
from brodmann.models.sites import NeuronSite
from brodmann.neurons import NeuronScores

_CHUNK = 1024
"""Neurons that are read in float64 at a time."""

_TINY = torch.finfo(torch.float64).tiny


@torch.no_grad()
def neft(
    before: LanguageModel,
    after: Mapping[str, Shaped[Tensor, "..."]] | nn.Module,
    *,
    tuning: Mapping[str, Any] | None = None,
) -> NeuronScores:
    """Score every neuron by how far a full fine-tune has turned its weights.

    C[l, j] = 1 - cosine(w before, w after)

    with w all weights of the neuron: its rows of gate and up and its column of down, one after the
    other. No data enter but through the fine-tune, which has to be made first: it costs as much as
    fine-tuning the model. 0 for a neuron that has kept its direction, 2 for one that was turned
    around, 1 for one whose weights have all become 0 (or were, before). Computed in float64
    without subtracting from 1, so that the small angles of a short fine-tune are not rounded off.

    What differs from the paper: a neuron is an entry of the down projection's input, as
    everywhere here, and not a row of each of the model's matrices; biases do not enter.

    Args:
        before: the model as it was.
        after: the same model after fine-tuning all of its parameters, or its state dict.
        tuning: what the fine-tune was (data, epochs, lr), for the provenance; in JSON types.

    Returns:
        Scores [L, N] of one sample, which have no variance.

    Raises:
        MismatchError: a weight is missing in ``after``, or has another shape.
        ModelError: packed or offloaded weights, or weights that are not finite.
        InputError: no weight of any neuron has changed.
    """
    tuned = after.state_dict() if isinstance(after, nn.Module) else after
    names = {id(parameter): name for name, parameter in before.hf.named_parameters()}
    values = torch.zeros(before.real.shape, dtype=torch.float64)
    for site in before.sites:
        parts = [
            _turned(site, chunk, tuned, names)
            for chunk in torch.arange(site.n_neurons).split(_CHUNK)
        ]
        values[site.layer, : site.n_neurons] = torch.cat(parts)
    if not values.any():
        raise InputError(
            f"Expected a fine-tune that has turned the weights of neurons of '{before.name}'; all "
            "are as they were. Train with method 'full' first."
        )
    return _scores(before, values, tuning)


def _turned(
    site: NeuronSite,
    neurons: Int[Tensor, "k"],
    tuned: Mapping[str, Tensor],
    names: Mapping[int, str],
) -> Float[Tensor, "k"]:
    slices = [part for part in neuron_slices(site, neurons) if part.kind != "bias"]
    old = torch.cat([part.read().cpu().double() for part in slices], dim=1)
    new = torch.cat([_tuned(part, tuned, names).cpu().double() for part in slices], dim=1)
    for which, weights in (("before", old), ("after", new)):
        if not weights.isfinite().all():
            raise ModelError(
                f"Expected finite weights; layer {site.layer} holds NaN or infinity {which} the "
                "fine-tune. Train again with a lower learning rate."
            )
    sizes = [weights.norm(dim=1, keepdim=True) for weights in (old, new)]
    apart = old / sizes[0].clamp_min(_TINY) - new / sizes[1].clamp_min(_TINY)
    gone = [size[:, 0] == 0 for size in sizes]
    turned = (apart.square().sum(1) / 2).masked_fill(gone[0] | gone[1], 1.0)
    same = (old == new).all(1)  # of equal weights, and of none before and after
    return turned.masked_fill(same, 0.0)


def _tuned(part: NeuronSlice, tuned: Mapping[str, Tensor], names: Mapping[int, str]) -> Tensor:
    name = names[id(part.parameter)]
    found = tuned.get(name)
    if found is None:
        raise MismatchError(
            f"Expected '{name}' in the fine-tuned model; it has none. Give the model that was "
            "fine-tuned whole, without an adapter around it."
        )
    if found.shape != part.parameter.shape:
        raise MismatchError(
            f"Expected '{name}' of shape {tuple(part.parameter.shape)} in the fine-tuned model; "
            f"got {tuple(found.shape)}. Give a fine-tune of this very model."
        )
    return part.read(found.detach())


def _scores(
    before: LanguageModel, values: Float[Tensor, "L N"], tuning: Mapping[str, Any] | None
) -> NeuronScores:
    kept = before.score_dtype
    shape = values.shape
    return NeuronScores(
        values=values.to(kept),
        variance=torch.full(shape, torch.nan, dtype=kept),
        n_samples=1,
        block_means=torch.zeros(0, *shape, dtype=kept),
        block_counts=torch.zeros(0, dtype=torch.long),
        real=before.real.clone(),
        provenance={
            "model": before.name,
            "fingerprint": before.fingerprint,
            "method": "neft",
            "options": {},
            "tuning": dict(tuning or {}),
        },
    )
