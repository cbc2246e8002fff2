"""`failure_of`: what an exception is to the person at the terminal."""

import errno
from dataclasses import dataclass
from typing import ClassVar

from typer.exceptions import TyperException

from brodmann.errors import BrodmannError
from brodmann.launch import process_count


@dataclass(frozen=True, slots=True)
class Failure:
    """One line for stderr (empty for none) and the exit code.

    Attributes:
        message: what was expected, what was given, what to write.
        exit_code: 2 for the caller's mistake, 1 for a failure, 130 for an interruption.
    """

    FAILED: ClassVar[int] = 1
    INTERRUPTED: ClassVar[int] = 130

    message: str
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """Say in one line what went wrong and with which code to exit."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted; --resume goes on, where a verb has it", Failure.INTERRUPTED)
    if isinstance(error, BrokenPipeError):  # the reader of our output had enough
        return Failure("", Failure.FAILED)
    if isinstance(error, BrodmannError):
        return Failure(_one_line(error), error.exit_code)
    if isinstance(error, TyperException):
        message = _one_line(error.format_message()).rstrip(".")
        return Failure(f"{message}; see 'brodmann --help'.", error.exit_code)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure("the disk is full; free some space and run again.", Failure.FAILED)
    if _is_lost_process(error):
        return Failure(
            "another process ended without a word, killed perhaps for want of memory; the "
            "launcher's lines say which.",
            Failure.FAILED,
        )
    if _is_out_of_memory(error):
        return Failure(
            "out of memory; run again with a smaller --batch-size where there is one, or "
            "--dtype bfloat16.",
            Failure.FAILED,
        )
    return Failure(
        f"{type(error).__name__}: {_one_line(error)}; run with --debug for the traceback.",
        Failure.FAILED,
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _is_lost_process(error: BaseException) -> bool:
    name, text = type(error).__name__, str(error)
    lost = name in ("DistBackendError", "DistNetworkError") or "/gloo/transport/" in text
    return lost and process_count() > 1


def _is_out_of_memory(error: BaseException) -> bool:
    # By name and text: torch is not imported for the sake of an error message.
    name, text = type(error).__name__, str(error)
    return name in ("MemoryError", "OutOfMemoryError") or "DefaultCPUAllocator" in text
