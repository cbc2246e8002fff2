"""Refuse values of a config that no experiment can run with, before anything is measured."""

from collections.abc import Collection, Sequence
from typing import Any

from brodmann.errors import InputError, UnknownNameError


def check_least(config: Any, **least: int) -> None:
    """Refuse counts that are too small; None, where a count may be that, means all.

    Raises:
        InputError: one is.
    """
    for name, level in least.items():
        value = getattr(config, name)
        if value is not None and value < level:
            raise InputError(
                f"Expected {name} of {level} or more; got {value}. Write --set {name}={level}."
            )


def check_among(what: str, given: Sequence[str], known: Collection[str]) -> None:
    """Refuse names that there are not, or none at all.

    Raises:
        UnknownNameError: one is not known.
        InputError: there are none.
    """
    for name in given:
        if name not in known:
            raise UnknownNameError(what, name, known)
    if not given:
        raise InputError(f"Expected at least one {what} out of {', '.join(known)}; got none.")


def check_share(name: str, value: int | float) -> None:
    """Refuse what is no share of something: a number above 0 and up to 1.

    Raises:
        InputError: it is not.
    """
    if not 0 < value <= 1:
        raise InputError(
            f"Expected {name} as a share, above 0 and up to 1; got {value:g}. Write {name}=0.07."
        )
