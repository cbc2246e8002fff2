"""Models that come inside the package: small, float32, with the byte tokenizer, no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from brodmann.models.byte_tokenizer import byte_tokenizer
from brodmann.storage import new_folder

_FOLDERS = Path(__file__).parent / "small"


@dataclass(frozen=True, slots=True)
class SmallModel:
    """A model whose checkpoint is part of the package.

    Attributes:
        about: what it is and what it can do.
        parameters: how many weights it has (tied ones once).
        licence: under which it may be used: this package's.
        quantisation: None; its weights were rounded to float16 and it was measured so.
        download_bytes: nothing is downloaded.
    """

    about: str
    parameters: int
    licence: str = "Apache-2.0"
    quantisation: str | None = None
    download_bytes: int = 0


SMALL: Mapping[str, SmallModel] = MappingProxyType(
    {
        "four-operators": SmallModel(
            about=(
                "Solves + - * /, trained by brodmann.experiments.train_four_operators; right on "
                "unseen expressions: 1-OP 99%, 2-OP 98%, 3-OP 87%"
            ),
            parameters=279_232,
        ),
        "tiny-random": SmallModel(
            about="Random weights, 3 layers, for trying things out: it can do nothing",
            parameters=36_128,
        ),
    }
)
"""The small models by name."""


def small_model_folder(name: str) -> Path | None:
    """Return the checkpoint of a small model, or None where no small model has this name."""
    return _FOLDERS / name if name in SMALL else None


def save_small_model(hf: PreTrainedModel, folder: str | Path) -> None:
    """Write a checkpoint that opens as float32, its numbers rounded to float16.

    Tied weights are written once. An older folder that brodmann made is replaced.

    Raises:
        InputError: when ``folder`` holds something else, or cannot be written.
        RunError: when the disk is full.
    """
    weights = {name: weight.detach().to(torch.float16) for name, weight in hf.named_parameters()}
    with new_folder(folder, overwrite=True) as target:
        hf.config.save_pretrained(target)
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
        byte_tokenizer().save_pretrained(target)
