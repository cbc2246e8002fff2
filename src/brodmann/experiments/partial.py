"""`Partial`: finished pieces of a long run, kept beside its folder, so that it can go on later."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brodmann.errors import InputError
from brodmann.storage import plain, read_json, write_json

WORK = "work.json"
"""What the kept pieces belong to."""


class Partial:
    """The pieces of one run that are finished, each in one small file.

    A piece is used again only by the very same work: ``work`` holds everything that decides the
    bits of the result. Values always pass through JSON, so that a piece that was read back and
    one that was just made are the same bits.
    """

    def __init__(
        self,
        folder: Path,
        work: dict[str, Any],
        *,
        resume: bool,
        overwrite: bool = False,
        plan: dict[str, Any],
    ) -> None:
        """Open the folder; the pieces of an older run are kept, discarded or protected.

        Args:
            folder: where the pieces are.
            work: what decides the result; other work is refused.
            resume: go on with what the folder holds.
            overwrite: discard what it holds; with neither, an older run is not touched.
            plan: what was found out on this machine now, such as the size of batches. The plan
                of the run that is resumed takes its place: see :attr:`plan`.

        Raises:
            InputError: when the folder holds an older run and neither is asked for, other work
                (with ``resume``), or other files.
        """
        self.folder = folder
        work = plain(work)
        if folder.exists() and any(folder.iterdir()) and not (folder / WORK).exists():
            raise InputError(
                f"Expected {folder} to hold an interrupted run, or nothing; it holds other files. "
                "Move them, or give another --out."
            )
        unfinished = (folder / WORK).exists()
        if unfinished and not resume and not overwrite:
            raise InputError(
                f"{folder} holds an unfinished run. Write --resume to go on with it, or "
                "--overwrite to start anew."
            )
        if resume and unfinished:
            found = read_json(folder / WORK)
            self._check(found.get("work", {}), work)
            self.plan: dict[str, Any] = found["plan"]
        else:
            shutil.rmtree(folder, ignore_errors=True)
            self.plan = plan
            write_json(folder / WORK, {"work": work, "plan": plan})

    def _check(self, found: dict[str, Any], work: dict[str, Any]) -> None:
        other = sorted(k for k in found.keys() | work.keys() if found.get(k) != work.get(k))
        if other:
            raise InputError(
                f"Expected the interrupted run of this very command in {self.folder}; it differs "
                f"in {', '.join(other)}. Repeat that command, or start anew with --overwrite."
            )

    def piece(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the value kept under ``key``; if there is none, make it and keep it."""
        path = self._path(key)
        if path.exists():
            return read_json(path)["value"]
        start = time.perf_counter()
        value = json.loads(json.dumps(plain(make())))
        write_json(path, {"key": key, "seconds": time.perf_counter() - start, "value": value})
        return value

    @contextmanager
    def timed(self, key: str) -> Iterator[None]:
        """Count the time of work that keeps its own pieces."""
        start = time.perf_counter()
        yield
        earlier = read_json(self._path(key))["seconds"] if self.has(key) else 0.0
        seconds = earlier + time.perf_counter() - start
        write_json(self._path(key), {"key": key, "seconds": seconds, "value": None})

    def has(self, key: str) -> bool:
        """Tell whether a piece is finished."""
        return self._path(key).exists()

    def seconds(self) -> dict[str, float]:
        """Return how long the pieces took, by the word before the first slash of their keys."""
        total: dict[str, float] = {}
        for path in sorted(self.folder.glob("pieces/*.json")):
            piece = read_json(path)
            stage = piece["key"].partition("/")[0]
            total[stage] = total.get(stage, 0.0) + piece["seconds"]
        return total

    def discard(self) -> None:
        """Remove the folder: the result is safe."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        digest = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
        return self.folder / "pieces" / f"{digest}.json"


def say(text: str) -> None:
    """Tell on stderr which stage begins."""
    print(f"brodmann: {text}", file=sys.stderr, flush=True)
