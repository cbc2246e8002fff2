"""Bake an intervention into weights and save an ordinary checkpoint that needs no brodmann."""

from pathlib import Path

import torch
from torch import Tensor

from brodmann.errors import InputError
from brodmann.interventions.belongs import check_neurons
from brodmann.interventions.context import check_factor
from brodmann.interventions.editable import check_editable, down_weight, is_transposed
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import ExpertSite, NeuronSite
from brodmann.neurons import NeuronSet
from brodmann.storage import write_json


def bake(
    model: LanguageModel,
    neurons: NeuronSet,
    folder: Path | str,
    *,
    by: float = 0.0,
    force: bool = False,
) -> None:
    """Save the model with the neurons' columns of W_down multiplied by a factor.

    The checkpoint is plain Hugging Face safetensors with the tokenizer beside it, and behaves as
    the model inside ``with scaled(model, neurons, by)``. The model in memory is not changed.

    Args:
        model: the model to bake.
        neurons: which neurons.
        folder: where to write; files of the same name are replaced (the command line writes to
            a temporary folder first).
        by: the factor: 0 erases, 2 doubles.
        force: use a set that was located on another model of the same shape.

    Raises:
        MismatchError: the set belongs to another model.
        ModelError: weights that cannot be edited (packed by quantisation, wrapped by an adapter,
            kept off the device, or shared between layers).
        InputError: a factor that is not a finite number, or an empty set.
    """
    check_factor(by)
    check_neurons(model, neurons, force=force)
    if len(neurons) == 0:
        raise InputError("Expected at least one neuron to bake; the set is empty.")
    check_editable(model)
    state = dict(model.hf.state_dict())
    names = {id(parameter): name for name, parameter in model.hf.named_parameters()}
    for layer, site in enumerate(model.sites):
        chosen = neurons.indices(layer)
        if len(chosen):
            weight = down_weight(site)
            state[names[id(weight)]] = _scaled_columns(site, weight, chosen, by)
    model.hf.save_pretrained(folder, state_dict=state)
    model.tokenizer.save_pretrained(folder)
    # load_model reads it back: a baked checkpoint is as rounded as its source.
    write_json(Path(folder) / "brodmann.json", {"quantisation": model.quantisation, "by": by})


@torch.no_grad()
def _scaled_columns(site: NeuronSite, weight: Tensor, chosen: Tensor, by: float) -> Tensor:
    scaled = weight.detach().clone()
    chosen = chosen.to(weight.device)
    if isinstance(site, ExpertSite):
        transposed = getattr(site.experts, "is_transposed", False)
        by_neuron = scaled if transposed else scaled.transpose(1, 2)
        experts, columns = chosen // site.width, chosen % site.width
        by_neuron[experts, columns] = by_neuron[experts, columns] * by
        return scaled
    by_neuron = scaled if is_transposed(site) else scaled.T
    by_neuron[chosen] = by_neuron[chosen] * by
    return scaled
