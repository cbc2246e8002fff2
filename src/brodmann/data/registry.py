"""`NamedSet` and `DATASETS`: the data sets that a spec can call by name.

A new set is a function that turns a spec into examples, registered beside its definition::

    DATASETS.add("riddles", NamedSet("Riddles", options={...}, load=load_riddles))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brodmann.data.example import Example
from brodmann.data.spec import DataSpec
from brodmann.data.split import Subset
from brodmann.registry import Registry

Loader = Callable[[DataSpec, Subset, int | None], list[Example]]
"""Turns a spec, a subset and a limit into examples."""


def _part_as_given(part: str) -> str:
    return part


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name.

    Attributes:
        summary: one line about it.
        options: its options, each with one line of help.
        load: makes the examples. ``split`` and ``part`` are dealt with before it is called, and
            the names of the options are checked.
        canonical_part: gives the one spelling of what follows the slash, or raises.
    """

    summary: str
    options: Mapping[str, str]
    load: Loader
    canonical_part: Callable[[str], str] = _part_as_given


# The kind is worded for the error message: "Expected a path that exists, ... out of arithmetic".
DATASETS: Registry[NamedSet] = Registry("path that exists, hub:ORG/NAME, or data set")
"""The sets that exist; each module of a set adds its own."""
