"""Turn neurons off, down or up while a block runs (methods.md section 6).

Only hooks are used: the model's weights are never touched, and it is bit-identical afterwards,
also after an exception.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from brodmann.errors import InputError
from brodmann.interventions.belongs import check_neurons
from brodmann.models.activations import Edit, edited
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.shapes import LayerNeuron


@contextmanager
def erased(model: LanguageModel, neurons: NeuronSet, *, force: bool = False) -> Iterator[None]:
    """Set z of these neurons to 0 at every token inside the block.

    Exactly what zeroing their columns of W_down does.

    Args:
        model: the model to intervene on.
        neurons: which neurons.
        force: use a set that was located on another model of the same shape.

    Raises:
        MismatchError: the set belongs to another model.
    """
    with scaled(model, neurons, by=0.0, force=force):
        yield


@contextmanager
def scaled(
    model: LanguageModel, neurons: NeuronSet, by: float, *, force: bool = False
) -> Iterator[None]:
    """Multiply z of these neurons by a factor at every token inside the block.

    Args:
        model: the model to intervene on.
        neurons: which neurons.
        by: the factor: 0 erases, 2 doubles.
        force: use a set that was located on another model of the same shape.

    Raises:
        MismatchError: the set belongs to another model.
        InputError: a factor that is not a finite number.
    """
    check_factor(by)
    check_neurons(model, neurons, force=force)
    edits = {}
    for layer, site in enumerate(model.sites):
        chosen = neurons.indices(layer)
        if len(chosen):
            scale = torch.ones(site.n_neurons, dtype=model.score_dtype, device=model.device)
            scale[chosen.to(scale.device)] = by
            edits[layer] = Edit(scale)
    with edited(model, edits):
        yield


@contextmanager
def mean_ablated(
    model: LanguageModel, neurons: NeuronSet, means: LayerNeuron, *, force: bool = False
) -> Iterator[None]:
    """Replace z of these neurons by their mean over a reference set, at every token in the block.

    Args:
        model: the model to intervene on.
        neurons: which neurons.
        means: [L, N], as :func:`brodmann.interventions.reference_activations` gives.
        force: use a set that was located on another model of the same shape.

    Raises:
        MismatchError: the set or the means belong to another model.
    """
    check_neurons(model, neurons, force=force)
    if means.shape != model.real.shape:
        raise InputError(
            f"Expected means of shape {tuple(model.real.shape)} (layers, neurons); got "
            f"{tuple(means.shape)}."
        )
    edits = {}
    for layer, site in enumerate(model.sites):
        chosen = neurons.indices(layer)
        if len(chosen):
            scale = torch.ones(site.n_neurons, dtype=means.dtype)
            shift = torch.zeros(site.n_neurons, dtype=means.dtype)
            scale[chosen] = 0
            shift[chosen] = means[layer, chosen].to(shift.device)
            edits[layer] = Edit(scale.to(model.device), shift.to(model.device))
    with edited(model, edits):
        yield


def check_factor(by: float) -> None:
    """Raise InputError unless the factor is a finite number."""
    if by != by or by in (float("inf"), float("-inf")):
        raise InputError(f"Expected a finite factor (0 erases, 2 doubles); got {by}.")
