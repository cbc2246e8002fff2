"""Save running sums now and then, so that a killed run goes on where it was, with the same bits."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.processes import gathered, rank_and_count
from brodmann.storage import read_tensors, write_tensors

SECONDS = 20.0
"""How long work may be lost at a kill."""

Plan = TypeVar("Plan")


class Checkpoint:
    """The state of one accumulation in one file; of several processes each has its own.

    The file names the work by a hash of what decides its bits (model, examples, options); other
    work is refused. The plan of batches, which may depend on the memory that was free, is chosen
    once and kept in the file.
    """

    def __init__(self, path: Path | None, work: dict[str, Any]) -> None:
        """Keep state at ``path`` (None: keep nothing), and read what is there.

        Raises:
            InputError: the file belongs to other work, or is damaged.
        """
        rank, count = rank_and_count()
        self.path = path if path is None or rank == 0 else path.with_stem(f"{path.stem}.{rank}")
        named = json.dumps(work | {"process": [rank, count]}, sort_keys=True)
        self._work = hashlib.sha256(named.encode()).hexdigest()
        self._last = time.monotonic()
        self._plan: Any = None
        self._state: dict[str, Tensor] | None = None
        self._done = self._rounds = 0
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def _read(self, path: Path) -> None:
        state, metadata = read_tensors(path)
        if metadata.get("work") != self._work:
            raise InputError(
                f"Expected the interrupted run of this very command in '{path.parent}'; it "
                "was started with another model, data, options or number of processes. Repeat "
                "those, or start anew with --overwrite."
            )
        self._state = state
        self._done, self._rounds = int(metadata["batches"]), int(metadata["rounds"])
        self._plan = json.loads(metadata["plan"])

    def plan(self, chosen: Plan) -> Plan:
        """The plan of the interrupted run, else the one chosen now; of all processes the same.

        Each would choose by the memory that it finds; the first one's choice is taken.

        Raises:
            InputError: the files of the processes belong to different runs.
        """
        plans = gathered((self._plan, chosen))
        kept = [plan for plan, _ in plans if plan is not None]
        if any(plan != kept[0] for plan in kept):
            raise InputError(
                "Expected the interrupted run of all processes; their checkpoints are of "
                "different runs. Start anew with --overwrite."
            )
        self._plan = kept[0] if kept else plans[0][1]
        return self._plan

    def restore(self, sums: ScoreSums) -> tuple[int, int]:
        """Fill ``sums`` from the file.

        Returns:
            How many batches they hold already, and how many rounds were found not to be enough
            (by any of the processes: one may have saved later than another).
        """
        if self._state is not None:
            sums.restore(self._state)
            self._state = None
        return self._done, max(gathered(self._rounds))

    def save(self, sums: ScoreSums, batches: int, *, rounds: int, now: bool = False) -> None:
        """Write the state after ``batches`` batches, if it is time to.

        Args:
            sums: this process's sums.
            batches: how many of its batches they hold.
            rounds: how many rounds were looked at and found not to be enough.
            now: write even if the last time was not long ago.
        """
        if self.path is None or not (now or time.monotonic() - self._last > SECONDS):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {
            "work": self._work,
            "batches": str(batches),
            "rounds": str(rounds),
            "plan": json.dumps(self._plan),
        }
        write_tensors(self.path, sums.tensors(), metadata)
        self._last = time.monotonic()
