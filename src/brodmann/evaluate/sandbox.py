"""`run_program`: Python that a model wrote runs in a locked-down child process, or not at all.

The child is a fresh interpreter in an empty folder, with an environment of its own and no
descriptor of ours but its input, its output and two for the job. Before the program starts, the
child gives up, and cannot get back (`sandbox_child.py`):

- all system calls but those on a list (seccomp, `sandbox_filter.py`): no other process can be made,
  so none outlives the child; no other program runs; no sockets, no signals to others, no tracing;
  files are opened for reading only, and nothing changes one;
- all files but Python's own, the system's libraries and the empty folder (Landlock);
- CPU time, memory, open files and the size of files beyond the limits (rlimits).

The parent kills it when time, output or threads run over. No rights are needed, and being root
takes nothing away. The folder is read-only for the program too, so that one rule, no writing,
holds everywhere. Where the kernel offers less, nothing runs.

**The verdict.** "passed" needs a random token from behind the last line of the tests, so leaving
early, printing, or replacing built-in functions earns nothing. What remains: tests run in the
process of the program, so a program that was written against this very file can find the token in
the frames of its callers, and an object that equals everything passes most tests. Both harm only
the score. A program also can see which paths exist, though not what is in them.
"""

import json
import math
import os
import platform
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from brodmann.errors import RunError
from brodmann.evaluate.sandbox_filter import machines, seccomp_filter

Status = Literal["passed", "failed", "timed out", "killed"]

_CHILD = Path(__file__).with_name("sandbox_child.py")
_LOCKED, _COMPILED = b"locked", b"compiled"  # the child's words before the program's first line
_SHORT = 2000  # characters of stderr that are kept
_LOOK_EVERY = 0.05  # seconds between looks at the number of threads
_READABLE = (
    "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/etc/ld.so.cache",
    "/usr/share/zoneinfo", "/dev/null", "/dev/urandom",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: wall-clock time, and CPU time.
        memory: bytes of address space.
        output: bytes on stdout, and as many on stderr.
        threads: at one time; looked at every few hundredths of a second.
    """

    seconds: int | float = 10
    memory: int = 1 << 30
    output: int = 1 << 20
    threads: int = 64


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended.

    Attributes:
        compiled: whether it is Python.
        status: "passed": all of it ran to its end. "failed": it raised, or left before its end.
            "timed out": time was up. "killed": it used too much otherwise, or crashed.
        exit_code: of the process; the negative number of a signal that ended it.
        stdout: what it printed.
        stderr: the end of what it printed there.
        seconds: how long it took.
    """

    compiled: bool
    status: Status
    exit_code: int
    stdout: str
    stderr: str
    seconds: float


def run_program(
    source: str, *, then: str = "", stdin: str = "", limits: Limits = Limits()
) -> Outcome:
    """Run Python that is not trusted.

    Args:
        source: the program, run as ``__main__`` with the standard library and nothing else.
        then: what must run to its end behind it, in the same namespace: its tests. It is compiled
            apart, so no open bracket or quote of the program can swallow it.
        stdin: what the program can read there.
        limits: what it may use.

    Raises:
        RunError: when the child cannot be locked down on this system; nothing has run then.
    """
    check_system()
    token = secrets.token_hex(32).encode()
    with TemporaryDirectory(prefix="brodmann-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        job = json.dumps(_job(source, then, limits, home)).encode()
        with (
            _readable(Path(folder) / "job", job + token) as job_at,
            _readable(Path(folder) / "stdin", stdin.encode(errors="replace")) as stdin_at,
        ):
            return _Child(job_at, len(job), stdin_at, home).finish(limits, token)


def check_system() -> None:
    """Refuse systems that no program can be locked down on.

    Raises:
        RunError: anywhere but on Linux on x86_64 and aarch64.
    """
    if sys.platform != "linux" or platform.machine() not in machines():
        raise RunError(
            f"Expected Linux on {' or '.join(machines())} to lock a program down; this is "
            f"{platform.system()} on {platform.machine()}, so none is run. Score code there, or in "
            "a Linux container."
        )


def _job(source: str, then: str, limits: Limits, home: Path) -> dict[str, object]:
    readable = (*_READABLE, str(Path(os.__file__).parent), f"{sys.base_prefix}/lib", str(home))
    return {
        "source": source,
        "then": then,
        "cpu_seconds": math.ceil(limits.seconds),
        "memory": limits.memory,
        "readable": [path for path in readable if os.access(path, os.R_OK)],
        "filter": seccomp_filter(platform.machine()).hex(),
    }


@contextmanager
def _readable(path: Path, content: bytes) -> Iterator[int]:
    """A descriptor to read some content from; the file has no name any more."""
    path.write_bytes(content)
    with path.open("rb") as file:
        path.unlink()
        yield file.fileno()


class _Child:
    """The process, and what has come out of it."""

    def __init__(self, job_at: int, job_size: int, stdin_at: int, home: Path) -> None:
        verdict_from, verdict_to = os.pipe()
        self.verdict_from = verdict_from
        arguments = (job_at, job_size, verdict_to, os.getpid())
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-B", "-P", str(_CHILD), *map(str, arguments)],
                stdin=stdin_at,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(job_at, verdict_to),
                cwd=home,
                env={
                    "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC",
                    "PYTHONUTF8": "1",
                    "PYTHONHASHSEED": "0",  # sets in one order, so that a verdict repeats
                    "MALLOC_ARENA_MAX": "2",  # else each thread reserves much of the memory
                },
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.close(verdict_from)
            raise RunError(f"Expected to start {sys.executable}; {error.strerror}.") from error
        finally:
            os.close(verdict_to)
        self.started = time.monotonic()
        self.threads = Path(f"/proc/{self.process.pid}/task")
        self.output = {name: bytearray() for name in ("stdout", "stderr", "verdict")}

    def finish(self, limits: Limits, token: bytes) -> Outcome:
        """Wait until the process has ended or goes over a limit, and say how it went."""
        try:
            stopped = self._watch(limits)
        finally:
            self.process.kill()
            code = self.process.wait()
            for file in (self.process.stdout, self.process.stderr):
                if file is not None:
                    file.close()
            os.close(self.verdict_from)
        errors = self.output["stderr"].decode(errors="replace")[-_SHORT:]
        verdict = bytes(self.output["verdict"])
        if not verdict.startswith(_LOCKED):
            raise RunError(_not_locked(errors, stopped))
        return Outcome(
            compiled=verdict.startswith(_LOCKED + _COMPILED),
            status=stopped or _status(code, verdict == _LOCKED + _COMPILED + token[::-1]),
            exit_code=code,
            stdout=self.output["stdout"].decode(errors="replace"),
            stderr=errors,
            seconds=time.monotonic() - self.started,
        )

    def _watch(self, limits: Limits) -> Status | None:
        """Collect output; return why the process must be killed, None when it ended by itself."""
        deadline = self.started + limits.seconds
        with selectors.DefaultSelector() as waiting:
            pipes = (self.process.stdout, self.process.stderr, self.verdict_from)
            for name, pipe in zip(self.output, pipes, strict=True):
                if pipe is not None:
                    waiting.register(pipe, selectors.EVENT_READ, self.output[name])
            # A program may close its pipes and go on: then its threads are all there is to watch.
            while waiting.get_map() or self.process.poll() is None:
                if time.monotonic() > deadline:
                    return "timed out"
                if self._threads() > limits.threads:
                    return "killed"
                for key, _ in waiting.select(_LOOK_EVERY):
                    if not (got := os.read(key.fd, 1 << 16)):
                        waiting.unregister(key.fileobj)
                    key.data.extend(got)
                    if len(key.data) > limits.output:
                        return "killed"
        return None

    def _threads(self) -> int:
        try:
            return sum(1 for _ in self.threads.iterdir())
        except FileNotFoundError:  # it has ended, and been asked how
            return 0


def _status(code: int, passed: bool) -> Status:
    if code == -signal.SIGXCPU:
        return "timed out"
    if code < 0:
        return "killed"
    return "passed" if passed and code == 0 else "failed"


def _not_locked(errors: str, stopped: Status | None) -> str:
    lines = errors.strip().splitlines()
    why = lines[-1] if lines else "it ended without a word"
    if stopped is not None:
        why = f"it {stopped} before it was ready"
    return (
        f"Expected to lock down the process that runs a program; {why}. So none is run: score code "
        "on a Linux that has seccomp and Landlock."
    )
