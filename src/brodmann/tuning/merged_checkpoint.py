"""Merge trained neurons into a copy of the weights: a checkpoint that needs neither package."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.models import LanguageModel
from brodmann.storage import write_json
from brodmann.tuning.layers import NeuronTuningLayer

_PREFIX = "brodmann_"


def export_merged(model: LanguageModel, trained: PeftModel, folder: Path | str) -> None:
    """Save the model with the trained neurons in its weights.

    The checkpoint is plain Hugging Face safetensors with the tokenizer beside it; opening it needs
    neither brodmann nor PEFT. Of several adapters the active ones are merged. Sums are taken in the
    deltas' type and rounded once to the model's. The model in memory is not changed.

    Args:
        model: the model that was tuned.
        trained: the adapters around it.
        folder: where to write; files of the same name are replaced (the command line writes to
            a temporary folder first).

    Raises:
        MismatchError: the adapters are around another model.
        InputError: no active adapter of neuron tuning.
        ModelError: weights that cannot be written as numbers (packed by quantisation, kept off
            the device), deltas that are in the weights already, or a trained copy of a weight that
            the model shares.
    """
    hf = base_of(model, trained)
    _check_plain(model, hf)
    state = _unwrapped_state(hf, trained.active_adapters)
    merged = _merged_tensors(hf, trained.active_adapters)
    if not merged:
        names = ", ".join(trained.active_adapters)
        raise InputError(f"Expected an active adapter of neuron tuning to merge; active: {names}.")
    state |= merged
    _check_ties(hf, state)
    hf.save_pretrained(folder, state_dict=state)
    model.tokenizer.save_pretrained(folder)
    # load_model reads it back: a merged checkpoint is as rounded as its source.
    write_json(Path(folder) / "brodmann.json", {"quantisation": model.quantisation})


def base_of(model: LanguageModel, trained: PeftModel) -> Any:
    """Return the Hugging Face model inside the adapters.

    Raises:
        MismatchError: it is not the one that ``model`` opened.
    """
    hf = trained.get_base_model()
    inside = model.hf.get_base_model() if isinstance(model.hf, PeftModel) else model.hf
    if hf is not inside:
        raise MismatchError(
            f"Expected the adapters of {model.name}; these are around another model in memory. "
            "Give export the model that get_peft_model was called with."
        )
    return hf


@torch.no_grad()
def _merged_tensors(hf: Any, adapters: list[str]) -> dict[str, Tensor]:
    """Copies of the weights and biases that adapters change, with what was learnt in them."""
    found: dict[str, Tensor] = {}
    for name, module in hf.named_modules():
        if not isinstance(module, NeuronTuningLayer):
            continue
        base, name = module.get_base_layer(), name.replace(".base_layer", "")
        keys = {id(own): f"{name}.{key}" for key, own in base.named_parameters(recurse=False)}
        for adapter in [one for one in adapters if one in module.brodmann_places]:
            for part, dim, indices, delta in module.slices(adapter):
                # One expert is a view of the tensor of all.
                owner = part if part._base is None else part._base
                key = keys[id(owner)]
                if key not in found:
                    found[key] = owner.detach().clone()
                _add(_same_part(found[key], part, owner), dim, indices, delta)
    return found


def _same_part(copy: Tensor, part: Tensor, owner: Tensor) -> Tensor:
    """Of a copy of ``owner``, the view that ``part`` is of ``owner``."""
    offset = part.storage_offset() - owner.storage_offset()
    return copy.as_strided(part.size(), part.stride(), copy.storage_offset() + offset)


def _add(weight: Tensor, dim: int, indices: Tensor, delta: Tensor) -> None:
    """Add in the delta's type and round once, as merging in memory does."""
    before = weight.index_select(dim, indices)
    weight.index_copy_(dim, indices, (before.to(delta) + delta).to(weight))


def _unwrapped_state(hf: Any, adapters: list[str]) -> dict[str, Tensor]:
    """The tensors of the model under the names that they have without any adapter."""
    state = dict(_unwrapped(hf.state_dict(), adapters))
    if any(tensor.is_meta for tensor in state.values()):
        raise ModelError(
            "Expected all weights in memory to merge them; some are offloaded by device_map. Load "
            "the model with device='cpu'."
        )
    return state


def _unwrapped(state: Mapping[str, Tensor], adapters: list[str]) -> Iterator[tuple[str, Tensor]]:
    copies = tuple(f".modules_to_save.{adapter}." for adapter in adapters)
    replaced = {name.split(copy)[0] for name in state for copy in copies if copy in name}
    for name, tensor in state.items():
        module, _, rest = name.partition(".original_module.")
        if any(part.startswith(_PREFIX) for part in name.split(".")) or (
            rest and module in replaced
        ):
            continue
        if ".modules_to_save." in name and not any(copy in name for copy in copies):
            continue  # of an adapter that is not active
        for wrapper in (*copies, ".original_module.", ".base_layer."):
            name = name.replace(wrapper, ".")
        yield name, tensor


def _check_ties(hf: Any, state: Mapping[str, Tensor]) -> None:
    """A checkpoint cannot hold two values of one weight: reading it would tie them again."""
    for name, other in getattr(hf, "all_tied_weights_keys", {}).items():
        if name in state and other in state and not torch.equal(state[name], state[other]):
            raise ModelError(
                f"Expected '{name}' and '{other}' to be one weight, as the model ties them; they "
                "were trained apart. Tune without modules_to_save, or save the adapter instead."
            )


def check_can_merge(model: LanguageModel) -> None:
    """Refuse a model whose weights nothing can be merged into.

    Raises:
        ModelError: packed weights.
    """
    if getattr(model.hf, "is_quantized", False) or any(site.quantised for site in model.sites):
        raise ModelError(
            f"'{model.name}' keeps its weights packed ({model.quantisation}), so that nothing can "
            "be merged into them; open the full-precision model, load the adapter there and merge, "
            "or export the LoRA form."
        )


def _check_plain(model: LanguageModel, hf: Any) -> None:
    check_can_merge(model)
    if any(module.merged for module in hf.modules() if isinstance(module, BaseTunerLayer)):
        raise ModelError(
            "Expected deltas beside the weights; they are merged into them in memory. Call "
            "unmerge_adapter() on the trained model first."
        )
