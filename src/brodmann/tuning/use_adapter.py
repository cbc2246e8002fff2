"""Use an adapter from a folder on a model, and leave the model as it was."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel

from brodmann.errors import InputError, MismatchError
from brodmann.models.find_sites import find_sites
from brodmann.models.language_model import LanguageModel
from brodmann.tuning.config import NeuronTuningConfig
from brodmann.tuning.prepared import check_no_adapters
from brodmann.tuning.registration import register

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@contextmanager
def adapted(
    model: LanguageModel, folder: str | os.PathLike[str], *, force: bool = False
) -> Iterator[LanguageModel]:
    """Inside the block the model has the adapter of a folder: ours, or any that PEFT knows.

    Neuron tuning is merged into plain weights, so that everything that looks at neurons sees the
    tuned ones; on packed weights, and for other methods, the adapter is computed beside them.

    Args:
        model: the base model; afterwards it is bit for bit what it was.
        folder: what ``brodmann tune`` or ``save_pretrained`` of a PeftModel wrote.
        force: use neurons that were located on another model of the same shape.

    Yields:
        The adapted model. Its fingerprint is another one: sets of the base model need ``force``.

    Raises:
        InputError: no adapter there, or of a method that PEFT does not know.
        MismatchError: an adapter of another model.
        ModelError: a model that has adapters already.
    """
    folder = Path(folder)
    check_no_adapters(model)
    config = _config(folder)
    _check_base(model, config, folder, force)
    learning = {name: p.requires_grad for name, p in model.hf.named_parameters()}
    trained: Any = _loaded(model, folder)
    merged = isinstance(config, NeuronTuningConfig) and not any(s.quantised for s in model.sites)
    try:
        if merged:
            trained.merge_adapter()
        trained.eval()
        yield dataclasses.replace(
            model,
            sites=find_sites(model.hf, model.architecture),
            fingerprint=f"{model.fingerprint}+{_digest(folder)}",
        )
    finally:
        if merged:
            trained.unmerge_adapter()
        trained.unload()
        for name, parameter in model.hf.named_parameters():
            parameter.requires_grad_(learning[name])


def _config(folder: Path) -> PeftConfig:
    register()
    if not (folder / _CONFIG).is_file() or not (folder / _WEIGHTS).is_file():
        raise InputError(
            f"Expected an adapter in '{folder}' ({_CONFIG} and {_WEIGHTS}); it has none. Write the "
            "folder of 'brodmann tune', or of a PeftModel's save_pretrained."
        )
    try:
        return PeftConfig.from_pretrained(str(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected an adapter of a method that PEFT knows in '{folder}'; got {error}. Update "
            "peft, or the package that the adapter's method comes from."
        ) from error


def _check_base(model: LanguageModel, config: PeftConfig, folder: Path, force: bool) -> None:
    if force or not isinstance(config, NeuronTuningConfig):
        return
    if config.fingerprint not in (None, model.fingerprint):
        raise MismatchError(
            f"Expected an adapter of {model.name} ({model.fingerprint[:12]}); the neurons of "
            f"'{folder}' were located on another model ({str(config.fingerprint)[:12]}). Load that "
            "model, or force it."
        )


def _loaded(model: LanguageModel, folder: Path) -> PeftModel:
    try:
        return PeftModel.from_pretrained(model.hf, str(folder))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise MismatchError(
            f"Expected an adapter that fits '{model.name}'; that in '{folder}' does not: {reason} "
            "Load the model that it was trained on."
        ) from error


def _digest(folder: Path) -> str:
    return hashlib.blake2b((folder / _WEIGHTS).read_bytes(), digest_size=4).hexdigest()
