"""The MLP projections that PEFT's own methods can be put on, by their full names."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from brodmann.errors import InputError, ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import DenseSite
from brodmann.models.weights import base_layer


@dataclass(frozen=True)
class DenseModules:
    """Projections of dense MLPs.

    Attributes:
        names: their full names in the Hugging Face model: gate, up (or both fused) and down.
        conv1d: whether they keep their weights as [in, out].
        note: which layers have none, in words; None where all have.
    """

    names: tuple[str, ...]
    conv1d: bool
    note: str | None


def dense_modules(model: LanguageModel, layers: Iterable[int] | None = None) -> DenseModules:
    """Find the projections of the model's dense MLPs.

    Args:
        model: the model.
        layers: only these; all by default.

    Raises:
        InputError: a layer that the model does not have, or none.
        ModelError: none of these layers has a dense MLP.
    """
    wanted = range(model.n_layers) if layers is None else sorted(set(layers))
    if not wanted or wanted[0] < 0 or wanted[-1] >= model.n_layers:
        raise InputError(
            f"Expected layers from 0 to {model.n_layers - 1}; got {list(wanted) or 'none'}."
        )
    dense = [site for i in wanted if isinstance(site := model.sites[i], DenseSite)]
    if not dense:
        raise ModelError(
            f"Expected a layer with a dense MLP in '{model.name}'; all of them are mixtures of "
            "experts, whose stacked weights this method does not reach. Train neurons instead."
        )
    known: dict[int, str] = {id(module): name for name, module in model.hf.named_modules()}
    modules: list[nn.Module] = [part for site in dense for part in (*site.inward, site.down)]
    missed = [i for i in wanted if not isinstance(model.sites[i], DenseSite)]
    note = f"layers of experts are not reached and stay as they are: {missed}" if missed else None
    return DenseModules(
        tuple(known[id(module)] for module in modules),
        isinstance(base_layer(dense[0].down), Conv1D),
        note,
    )
