"""`RunRecord`: the provenance of one command, for ``run.json``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brodmann.models import LanguageModel


class RunRecord:
    """What a command was asked, on what it ran, and how long it took; the clock starts now.

    Args:
        verb: the command.
        settings: what it was asked, in JSON types.
    """

    def __init__(self, verb: str, **settings: Any) -> None:
        self._verb = verb
        self._settings = settings
        self._started = time.perf_counter()

    def write(self, folder: Path, model: "LanguageModel", **found: Any) -> None:
        """Write ``run.json`` into the folder, with the model and whatever was found."""
        from brodmann.environment import (
            environment,
            peak_device_memory_bytes,
            peak_memory_bytes,
        )
        from brodmann.storage import write_json

        record = {
            "command": self._verb,
            "settings": self._settings,
            "model": {
                "name": model.name,
                "fingerprint": model.fingerprint,
                "architecture": model.architecture.name,
                "quantisation": model.quantisation,
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
            },
            **found,
            "environment": environment(),
            "wall_seconds": time.perf_counter() - self._started,
            "peak_memory_bytes": peak_memory_bytes(),
            "peak_device_memory_bytes": peak_device_memory_bytes(),
        }
        write_json(folder / "run.json", record)
