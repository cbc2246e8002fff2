"""The files of a saved set: ``set.safetensors`` for the neurons, ``set.json`` for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brodmann.errors import InputError
from brodmann.shapes import LayerNeuronMask
from brodmann.storage import read_json, read_tensors, write_json, write_tensors

KIND = "brodmann neuron set 1"
"""What the files say they are; the number is the version of the format."""


def write_set(
    folder: Path, mask: LayerNeuronMask, real: LayerNeuronMask, provenance: Mapping[str, Any]
) -> None:
    """Write a set's two files into a folder that exists and may hold others."""
    summary = {
        "kind": KIND,
        "model": provenance.get("model"),
        "fingerprint": provenance.get("fingerprint"),
        "rule": provenance.get("rule"),
        "shape": list(mask.shape),
        "neurons": int(mask.sum()),
        "share": int(mask.sum()) / max(int(real.sum()), 1),
        "counts": mask.sum(1).tolist(),
        "provenance": provenance,
    }
    write_tensors(folder / "set.safetensors", {"mask": mask, "real": real}, {"kind": KIND})
    write_json(folder / "set.json", summary)


def read_set(folder: Path) -> tuple[LayerNeuronMask, LayerNeuronMask, dict[str, Any]]:
    """Read a set's mask, the neurons that exist, and the provenance.

    Raises:
        InputError: when the folder is missing, corrupt, or holds something else.
    """
    if not folder.is_dir():
        raise InputError(f"Expected a folder with a set of neurons; there is none at {folder}.")
    tensors, metadata = read_tensors(folder / "set.safetensors")
    summary = read_json(folder / "set.json")
    mask, real = tensors.get("mask"), tensors.get("real")
    if metadata.get("kind") != KIND or mask is None or real is None:
        raise InputError(f"Expected a {KIND} in {folder}; it holds something else.")
    if mask.shape != real.shape or not _tells_of(summary, mask):
        raise InputError(
            f"Expected set.json and set.safetensors of one set in {folder}; they do not agree. "
            "Locate again."
        )
    return mask, real, dict(summary["provenance"])


def _tells_of(summary: Any, mask: LayerNeuronMask) -> bool:
    return (
        isinstance(summary, Mapping)
        and summary.get("kind") == KIND
        and summary.get("shape") == list(mask.shape)
        and summary.get("counts") == mask.sum(1).tolist()
        and isinstance(summary.get("provenance"), Mapping)
        and summary.get("fingerprint") == summary["provenance"].get("fingerprint")
    )
