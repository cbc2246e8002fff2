"""Adapters in folders: which there are, and whether all of a file goes into a model."""

import re
from pathlib import Path
from typing import Any

from peft import PeftConfig
from safetensors import SafetensorError

from brodmann.errors import InputError, MismatchError
from brodmann.tuning.registration import register

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NEW = "default"
"""PEFT's name for a model's only adapter; of several, the one it keeps in the folder itself."""


def earlier_name(number: int) -> str:
    """Name an earlier task's adapter beside the new one, and the subfolder it is kept in."""
    return f"earlier{number}"


def adapter_config(folder: Path) -> PeftConfig:
    """Read the config of an adapter that is in a folder, with its weights; never the hub's.

    Raises:
        InputError: no adapter there, or of a method that PEFT does not know.
    """
    register()
    if lacks := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise InputError(
            f"Expected an adapter in '{folder}'; it has no {' and no '.join(lacks)}. Write the "
            "folder of 'brodmann tune', or of a PeftModel's save_pretrained."
        )
    try:
        return PeftConfig.from_pretrained(str(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected an adapter of a method that PEFT knows in '{folder}'; got {error}. Update "
            "peft, or the package that the adapter's method comes from."
        ) from error


def earlier_adapters(folder: Path) -> dict[str, Path]:
    """Find the earlier tasks' adapters that O-LoRA keeps beside a new one: name -> folder.

    They are in the subfolders ``earlier0``, ``earlier1`` and so on; other subfolders are not
    looked at.

    Raises:
        InputError: a number is left out.
    """
    there = {path.name for path in folder.iterdir() if re.fullmatch(r"earlier\d+", path.name)}
    names = [earlier_name(number) for number in range(len(there))]
    if lacks := [name for name in names if name not in there]:
        raise InputError(
            f"Expected the earlier tasks' adapters of '{folder}' in {', '.join(names)}; there is "
            f"no {lacks[0]}. Copy the whole folder that O-LoRA wrote."
        )
    return {name: folder / name for name in names}


def load_adapter(trained: Any, folder: Path, name: str, model_name: str) -> None:
    """Load an adapter's weights into a PeftModel; the adapter is put in where it is not yet.

    Args:
        trained: the PeftModel.
        folder: the adapter's, which :func:`adapter_config` has looked at.
        name: the adapter's in the model.
        model_name: what to call the model in an error.

    Raises:
        MismatchError: the file lacks weights, or has others than the adapter takes.
    """
    try:
        result = trained.load_adapter(str(folder), adapter_name=name)
    except (KeyError, RuntimeError, SafetensorError, ValueError) as error:
        raise unfit(folder, model_name, error) from error
    told = []
    if lacks := _lacking(trained, result.missing_keys, name):
        told.append(f"lacks {len(lacks)} weights, '{lacks[0]}' first")
    if more := result.unexpected_keys:
        told.append(f"has {len(more)} weights too many, '{more[0]}' first")
    if told:
        raise unfit(folder, model_name, f"the file {' and '.join(told)}")


def _lacking(trained: Any, missing: list[str], name: str) -> list[str]:
    """Those of the missing keys that are the adapter's own, and not in the file otherwise."""
    parameters = dict(trained.named_parameters(remove_duplicate=False))
    # What layers share has a key in each of them, and one in the file.
    read = {id(parameter) for key, parameter in parameters.items() if key not in missing}
    own = [key for key in missing if name in key.split(".")]
    return [key for key in own if id(parameters.get(key)) not in read]


def unfit(folder: Path, model_name: str, reason: object) -> InputError:
    """Make the error that an adapter does not fit a model; our own say already what is wrong."""
    if isinstance(reason, InputError):
        return reason
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()] or ["?"]
    said = lines[min(1, len(lines) - 1)].rstrip(".")  # torch's first line names no weight
    return MismatchError(
        f"Expected an adapter of '{model_name}'; the modules of the one in '{folder}' differ from "
        f"its: {said}. Give one that was trained on this model."
    )
