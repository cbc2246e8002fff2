"""Change single values of a frozen config by their names: ``locating.sigma=3``."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from brodmann.errors import InputError, UnknownNameError


def overridden(config: Any, changes: Sequence[str]) -> Any:
    """Return a config with some values changed.

    Args:
        config: a frozen dataclass; its values may be such themselves, or mappings.
        changes: ``NAME=VALUE`` with dots into what is nested; the value as JSON, or bare text
            where the old one is a text.

    Raises:
        InputError: a change that is not of this form, or a value of another type.
        UnknownNameError: a name that the config does not have.
    """
    for change in changes:
        name, sign, text = change.partition("=")
        if not sign or not name:
            raise InputError(f"Expected NAME=VALUE, such as sigma=3; got '{change}'.")
        config = _replaced(config, name.split("."), text, name)
    return config


def _replaced(config: Any, path: Sequence[str], text: str, name: str) -> Any:
    values = _values(config)
    if values is None or path[0] not in values:
        raise UnknownNameError("value of the config", name, values or ())
    old = values[path[0]]
    new = _parsed(old, text, name) if len(path) == 1 else _replaced(old, path[1:], text, name)
    if isinstance(new, float) and not _may_be_fractional(config, path[0]):
        raise InputError(f"Expected a whole number for {name}; got '{text}'.")
    if isinstance(config, Mapping):
        return {**config, path[0]: new}
    return dataclasses.replace(config, **{path[0]: new})


def _values(config: Any) -> Mapping[str, Any] | None:
    if isinstance(config, Mapping):
        return config
    if dataclasses.is_dataclass(config):
        return {one.name: getattr(config, one.name) for one in dataclasses.fields(config)}
    return None


def _may_be_fractional(config: Any, name: str) -> bool:
    """Whether a field takes floats, by its annotation; what has none takes what it is given."""
    if isinstance(config, Mapping):
        return True
    kind = get_type_hints(type(config))[name]
    return float in (kind, *get_args(kind)) or kind is Any


def _parsed(old: Any, text: str, name: str) -> Any:
    """Read a value, which must be of the old one's kind."""
    if isinstance(old, str):
        return text
    try:
        new = _frozen(json.loads(text))
    except json.JSONDecodeError:
        new = text
    number = isinstance(old, int | float) and not isinstance(old, bool)
    same = isinstance(new, type(old)) and isinstance(new, bool) == isinstance(old, bool)
    if number and isinstance(new, int | float) and not isinstance(new, bool):
        same = True
    if old is not None and not same:
        raise InputError(f"Expected a value like {json.dumps(old)} for {name}; got '{text}'.")
    return new


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    return value
