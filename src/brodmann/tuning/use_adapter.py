"""Use an adapter from a folder on a model, and leave the model as it was."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from safetensors import SafetensorError, safe_open
from torch import nn

from brodmann.errors import InputError, MismatchError
from brodmann.models.find_sites import find_sites
from brodmann.models.language_model import LanguageModel
from brodmann.tuning.adapter_files import (
    NEW,
    WEIGHTS,
    adapter_config,
    earlier_adapters,
    load_adapter,
    unfit,
)
from brodmann.tuning.config import NeuronTuningConfig
from brodmann.tuning.layers import NeuronTuningLayer
from brodmann.tuning.prepared import check_no_adapters


@contextmanager
def adapted(
    model: LanguageModel, folder: str | os.PathLike[str], *, force: bool = False
) -> Iterator[LanguageModel]:
    """Inside the block the model has the adapter of a folder: ours, or any put into its modules.

    Neuron tuning is merged into plain weights, so that everything that looks at neurons sees the
    tuned ones; on packed weights, and for other methods, the adapter is computed beside them.

    LoRA adapters in subfolders named ``earlier0``, ``earlier1`` and so on are active as well: there
    O-LoRA keeps those of earlier tasks, beside which the folder's own was trained. Other
    subfolders are not looked at.

    Args:
        model: the base model; afterwards it is bit for bit what it was, also where the adapter
            turns out not to fit.
        folder: what ``brodmann tune`` or ``save_pretrained`` of a PeftModel wrote.
        force: use neurons that were located on another model of the same shape.

    Yields:
        The adapted model. Its fingerprint is another one: sets of the base model need ``force``.

    Raises:
        InputError: no adapter there, of a method that PEFT does not know, or of one that learns
            a prompt.
        MismatchError: an adapter of another model, or a file that lacks weights or has others.
        ModelError: a model that has adapters already.
    """
    folder = Path(folder)
    check_no_adapters(model)
    config = adapter_config(folder)
    _check_base(model, config, folder, force)
    earlier = earlier_adapters(folder) if isinstance(config, LoraConfig) else {}
    for other in earlier.values():
        _check_lora(adapter_config(other), other)
    folders = {NEW: folder, **earlier}
    with _put_back(model.hf, _names_in(folders.values(), model.name)):
        trained = _loaded(model, config, folders)
        if isinstance(config, NeuronTuningConfig) and not any(s.quantised for s in model.sites):
            trained.merge_adapter()
        trained.eval()
        yield dataclasses.replace(
            model,
            sites=find_sites(model.hf, model.architecture),
            fingerprint=f"{model.fingerprint}+{_digest(folders.values())}",
        )


def _check_base(model: LanguageModel, config: PeftConfig, folder: Path, force: bool) -> None:
    if config.is_prompt_learning:
        raise InputError(
            f"Expected an adapter that is put into a model's modules; {config.peft_type} in "
            f"'{folder}' is put before its input. Use it with PEFT itself."
        )
    if force or not isinstance(config, NeuronTuningConfig):
        return
    if config.fingerprint not in (None, model.fingerprint):
        raise MismatchError(
            f"Expected an adapter of {model.name} ({model.fingerprint[:12]}); the neurons of "
            f"'{folder}' were located on another model ({str(config.fingerprint)[:12]}). Load that "
            "model, or force it."
        )


def _check_lora(config: PeftConfig, folder: Path) -> None:
    if not isinstance(config, LoraConfig):
        raise InputError(
            f"Expected the LoRA of an earlier task in '{folder}'; it holds {config.peft_type}. "
            "Rename that folder if it is none."
        )


def _names_in(folders: Iterable[Path], model_name: str) -> set[str]:
    """The model's own names for what is in adapters' files.

    Some methods keep parameters of the base model, such as biases, and loading overwrites them.
    """
    names: set[str] = set()
    for folder in folders:
        try:
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                names.update(file.keys())
        except SafetensorError as error:
            raise unfit(folder, model_name, error) from error
    return {name.removeprefix("base_model.model.").replace(".base_layer.", ".") for name in names}


def _loaded(model: LanguageModel, config: PeftConfig, folders: Mapping[str, Path]) -> Any:
    config.inference_mode = True
    config.base_model_name_or_path = None  # PEFT warns where a path is not the same
    try:
        trained: Any = get_peft_model(model.hf, config, adapter_name=NEW)
    except (RuntimeError, ValueError) as error:
        raise unfit(folders[NEW], model.name, error) from error
    for name, folder in folders.items():
        load_adapter(trained, folder, name, model.name)
    if len(folders) > 1:
        trained.base_model.set_adapter(list(folders), inference_mode=True)
    return trained


@contextmanager
def _put_back(hf: Any, overwritten: set[str]) -> Iterator[None]:
    """Afterwards a model has its own modules, numbers and flags again, whatever was put in."""
    modules = [(module, dict(module._modules), module.training) for module in hf.modules()]
    parameters = dict(hf.named_parameters(remove_duplicate=False))
    learning = [(p, p.requires_grad, p.data) for p in parameters.values()]
    copies = {name: parameters[name].detach().clone() for name in overwritten & set(parameters)}
    try:
        yield
    finally:
        for module in list(hf.modules()):
            if isinstance(module, NeuronTuningLayer):
                module.unmerge()
        for module, children, training in modules:
            module._modules.clear()
            module._modules.update(children)
            module.training = training
        _put_numbers_back(learning, parameters, copies)
        vars(hf).pop("peft_config", None)


@torch.no_grad()
def _put_numbers_back(
    learning: Iterable[tuple[nn.Parameter, bool, torch.Tensor]],
    parameters: Mapping[str, nn.Parameter],
    copies: Mapping[str, torch.Tensor],
) -> None:
    for parameter, requires_grad, data in learning:
        if parameter.data_ptr() != data.data_ptr():  # some methods start from a changed base
            parameter.data = data
        parameter.requires_grad_(requires_grad)
    for name, copy in copies.items():
        parameters[name].copy_(copy)


def _digest(folders: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for folder in folders:
        digest.update((folder / WEIGHTS).read_bytes())
    return digest.hexdigest()
