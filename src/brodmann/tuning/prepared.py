"""`Prepared`: a model made ready for one method of tuning; here neurons alone, and everything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import TrainerCallback

from brodmann.errors import ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.tuning.config import neuron_tuning


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model of which exactly what a method trains requires gradients.

    The LanguageModel's own modules are in it: where adapters were put in, its sites are out of
    date, and :func:`brodmann.models.load.wrap_model` finds them anew in ``trained``.

    Attributes:
        trained: what to give the trainer: the Hugging Face model, or a PeftModel around it.
        callbacks: what the trainer must call.
        extra_loss: what to add to the loss of each batch.
        trained_parameters: how many numbers the method trains.
        note: what someone who reads the result has to know.
    """

    trained: nn.Module
    callbacks: tuple[TrainerCallback, ...]
    extra_loss: Callable[[nn.Module], Tensor] | None
    trained_parameters: int
    note: str | None = None


def prepare_neurons(
    model: LanguageModel, *sets: NeuronSet, train_bias: bool = True, force: bool = False
) -> Prepared:
    """Prepare to train the union of some sets of neurons (CNLF) and nothing else.

    Args:
        model: the model; the adapter is put into it.
        sets: the located neurons, or neurons drawn at random.
        train_bias: train the neurons' biases, where the model has some.
        force: take sets that were located on another model of the same shape.

    Raises:
        InputError: no neurons.
        MismatchError: neurons of another model.
        ModelError: a model that has adapters already, or that cannot be tuned.
    """
    check_no_adapters(model)
    return with_adapter(model, neuron_tuning(model, *sets, train_bias=train_bias, force=force))


def prepare_full(model: LanguageModel) -> Prepared:
    """Prepare to train every parameter of the model.

    Raises:
        ModelError: a model with adapters, packed weights, or weights kept off the device.
    """
    check_no_adapters(model)
    for name, parameter in model.hf.named_parameters():
        if parameter.is_meta or not parameter.is_floating_point():
            raise ModelError(
                f"Expected weights in memory and in floating point to train all of them; '{name}' "
                f"of '{model.name}' is {'elsewhere' if parameter.is_meta else parameter.dtype}. "
                "Load the full-precision model on one device, or train neurons or LoRA."
            )
    model.hf.requires_grad_(True)
    return Prepared(model.hf, (), None, parameter_count(model.hf), _rounding(model))


def with_adapter(model: LanguageModel, config: PeftConfig, note: str | None = None) -> Prepared:
    """Put one PEFT adapter into the model, and train it alone."""
    trained: Any = get_peft_model(model.hf, config)
    return Prepared(trained, (), None, parameter_count(trained), note)


def check_no_adapters(model: LanguageModel) -> None:
    """Refuse a model that an adapter was put into.

    Raises:
        ModelError: saying what to do.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.hf.modules()):
        raise ModelError(
            f"Expected '{model.name}' without adapters; it has some. Load the model anew, or merge "
            "them first (model.merge_and_unload())."
        )


def parameter_count(trained: nn.Module) -> int:
    """How many numbers require gradients; tied weights count once."""
    return sum(parameter.numel() for parameter in trained.parameters() if parameter.requires_grad)


def _rounding(model: LanguageModel) -> str | None:
    if model.dtype in (torch.float32, torch.float64):
        return None
    kind = str(model.dtype).removeprefix("torch.")
    return (
        f"the weights themselves are trained and kept in {kind}: steps smaller than its rounding "
        "are lost (load the model with dtype='float32' to keep them)"
    )
