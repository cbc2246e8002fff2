"""Changing single values of a frozen config."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from brodmann.errors import InputError, UnknownNameError
from brodmann.experiments.override import overridden


@dataclass(frozen=True)
class Inner:
    sigma: int | float = 6
    options: str = "max=12"


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    draws: int = 20
    doses: tuple[float, ...] = (0.5, 1.0)
    exact: bool = False
    rates: Mapping[str, float] = field(default_factory=lambda: {"full": 0.1})


def test_values_are_replaced_wherever_they_stand():
    changes = ["inner.sigma=2.5", "draws=99", "doses=[0.1, 1]", "exact=true", "rates.full=0.2"]
    changed = overridden(Outer(), [*changes, "inner.options=max=9,shots=2"])
    assert changed == Outer(Inner(2.5, "max=9,shots=2"), 99, (0.1, 1), True, {"full": 0.2})
    assert overridden(Outer(), []) == Outer()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("draws", InputError, "NAME=VALUE"),
        ("=3", InputError, "NAME=VALUE"),
        ("drawz=3", UnknownNameError, "draws"),
        ("inner.drawz=3", UnknownNameError, "sigma"),
        ("draws.more=3", UnknownNameError, "draws.more"),
        ("draws=many", InputError, "a value like 20 for draws; got 'many'"),
        ("draws=true", InputError, "20"),
        ("draws=2.5", InputError, "a whole number for draws; got '2.5'"),
        ("exact=1", InputError, "false"),
        ("doses=0.5", InputError, "0.5, 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        overridden(Outer(), [change])
