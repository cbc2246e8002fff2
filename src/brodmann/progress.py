"""`progress`: one progress bar for all long work, on stderr."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from brodmann.launch import process_number

T = TypeVar("T")


def progress(
    iterable: Iterable[T],
    total: int | None = None,
    label: str = "",
    *,
    done: int = 0,
    shown: bool | None = None,
) -> Iterator[T]:
    """Iterate over ``iterable`` and draw a bar on stderr.

    Args:
        iterable: what to walk through.
        total: how many items there are, where ``len`` does not tell.
        label: what is going on ("Locating add").
        done: how many of ``total`` an earlier, interrupted run has done already.
        shown: True and False force the bar on and off. None (the default) asks the environment
            variable ``BRODMANN_PROGRESS`` (1 or 0), then whether stderr is a terminal. Of several
            processes only the first draws.

    Yields:
        The items of ``iterable``, unchanged.
    """
    shown = (_wanted() if shown is None else shown) and process_number() == 0
    yield from tqdm(
        iterable,
        desc=label or None,
        total=total,
        initial=done,
        disable=not shown,
        leave=False,
        file=sys.stderr,
    )


def _wanted() -> bool:
    asked = os.environ.get("BRODMANN_PROGRESS", "")
    return sys.stderr.isatty() if asked == "" else asked != "0"
