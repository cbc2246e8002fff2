"""The exceptions brodmann raises on purpose.

::

    BrodmannError
    ├── InputError             the caller's mistake; the command line exits with 2
    │   ├── UnknownNameError   a name that is not registered (suggests the nearest)
    │   ├── DataError          an example, a file or a data spec that cannot be used
    │   ├── ModelError         a model that is not supported, or fails its self-check
    │   └── MismatchError      scores or a set that belong to another model
    └── RunError               work that failed or was interrupted; exit code 1

Each message is one line: what was expected, what was given, what to write.
"""

import difflib
from collections.abc import Iterable


class BrodmannError(Exception):
    """Base of every error that brodmann raises on purpose."""

    exit_code = 1


class InputError(BrodmannError, ValueError):
    """The caller gave something that cannot be used."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is not registered.

    Args:
        kind: what the name should be, e.g. ``"method"``.
        given: what was given.
        known: the names that exist.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        article = "an" if kind[0] in "aeiou" else "a"
        expected = f"Expected {article} {kind} out of {', '.join(names)}"
        super().__init__(f"{expected}; got '{given}'.{hint}")


class DataError(InputError):
    """An example, a file or a data spec that cannot be used."""


class ModelError(InputError):
    """A model that is not supported, or whose architecture row is not true of it."""


class MismatchError(InputError):
    """Scores or a set of neurons that belong to another model."""


class RunError(BrodmannError):
    """Work that failed or was interrupted although the input was right."""


class LossError(RunError):
    """A training whose loss is no longer a number."""
