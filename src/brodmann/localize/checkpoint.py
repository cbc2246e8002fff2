"""Save running sums now and then, so that a killed run goes on where it was, with the same bits."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.storage import read_tensors, write_tensors

SECONDS = 20.0
"""How long work may be lost at a kill."""


class Checkpoint:
    """The state of one accumulation in one file.

    The file names the work by a hash of everything that decides its bits (model, examples,
    options, plan of batches); other work is refused.
    """

    def __init__(self, path: Path | None, work: dict[str, Any]) -> None:
        """Keep state at ``path`` (None: keep nothing)."""
        self.path = path
        self._work = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()
        self._last = time.monotonic()

    def restore(self, sums: ScoreSums) -> int:
        """Fill ``sums`` from the file; returns how many batches it already holds.

        Raises:
            InputError: the file belongs to other work, or is damaged.
        """
        if self.path is None or not self.path.exists():
            return 0
        state, metadata = read_tensors(self.path)
        if metadata.get("work") != self._work:
            raise InputError(
                f"Expected the interrupted run of this very command in '{self.path.parent}'; it "
                "was started with another model, data or options. Repeat those, or start anew "
                "with --overwrite."
            )
        sums.restore(state)
        return int(metadata["batches"])

    def save(self, sums: ScoreSums, batches: int, *, now: bool = False) -> None:
        """Write the state after ``batches`` batches, if it is time to."""
        if self.path is None or not (now or time.monotonic() - self._last > SECONDS):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(self.path, sums.tensors(), {"work": self._work, "batches": str(batches)})
        self._last = time.monotonic()
