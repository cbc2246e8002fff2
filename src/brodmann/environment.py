"""What a result was made with (versions, machine, revision, memory), for ``run.json``."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import torch

PACKAGES = ("brodmann", "torch", "transformers", "tokenizers", "numpy", "safetensors")


def environment() -> dict[str, Any]:
    """Describe the software and the machine, in JSON types.

    Keys: ``versions`` (package to version, with python), ``platform``, ``cpus``, ``threads``
    (torch's), ``accelerator`` (name or None) and ``git_revision`` (of the working directory, with
    ``-dirty`` where tracked files differ from it; None outside a repository).
    """
    return {
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_revision": _git_revision(),
    }


def peak_memory_bytes() -> int:
    """Return the most host memory this process has held so far, in bytes (0 where not known)."""
    try:
        import resource  # POSIX only
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_memory_bytes() -> int:
    """Return the most memory tensors have held on the fullest CUDA device, in bytes (0 without)."""
    devices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return max((torch.cuda.max_memory_allocated(device) for device in devices), default=0)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
