"""Families of capabilities: the data specs that a map compares with each other."""

import re
from collections.abc import Callable, Iterable

from brodmann.data.arithmetic.expressions import OPERATORS
from brodmann.data.families import TASK_SETS
from brodmann.data.load import canonical_spec
from brodmann.data.spec import DataSpec, read_value
from brodmann.errors import DataError, InputError
from brodmann.registry import Registry

Family = Callable[[DataSpec], dict[str, DataSpec]]
"""Turns a spec that names a family into one spec per capability, in order."""

FAMILIES: Registry[Family] = Registry("family of capabilities (or NAME=SPEC,NAME=SPEC)")

_LABEL = re.compile(r"\s*([^\s=:,;'\"/][^=:,;'\"/]*?)\s*=")


@FAMILIES.register("arithmetic")
def _arithmetic(spec: DataSpec) -> dict[str, DataSpec]:
    return {name: DataSpec(spec.name, name, spec.options) for name in OPERATORS}


@FAMILIES.register("capabilities")
def _capabilities(spec: DataSpec) -> dict[str, DataSpec]:
    """One set of each family: those that cnl.txt (Tables 2 and 3) enhances and erases."""
    return _sets(("gsm8k", "code25k", "emotion"), spec)


def _sets(names: Iterable[str], spec: DataSpec) -> dict[str, DataSpec]:
    return {name: DataSpec(name, "", spec.options) for name in names}


def _members(family: str) -> Family:
    """Return the family of all named sets that are declared as members of it."""
    tasks = (task for task in TASK_SETS.values() if task.family == family)
    names = tuple(dict.fromkeys(task.name.partition("/")[0] for task in tasks))
    return lambda spec: _sets(names, spec)


for _family in ("math", "program", "language"):
    FAMILIES.add(_family, _members(_family))


def capability_specs(name: str, **options: str | int | bool) -> dict[str, str]:
    """Return the data spec of each capability, in order.

    Args:
        name: a family, with options or without (``"arithmetic:max=20"``, ``"math:dir=PATH"``):
            arithmetic (by operator), math, program, language (by data set), or capabilities
            (one set of each of the three). Or the user's own capabilities,
            ``"math=gsm8k.jsonl,language=tweets.jsonl"``. A spec with options of its own has
            commas: put quotes around it, or part the capabilities with semicolons
            (``math=a.jsonl:prompt=q,answer=x;language=b.jsonl``).
        **options: options for every spec that does not set them itself.

    Raises:
        UnknownNameError: when there is no such family, set or option.
        DataError: when the text cannot be parsed, or names one capability twice.
    """
    if _LABEL.match(name):
        specs = _labelled(name)
    else:
        family = DataSpec.parse(name)
        if family.part or family.kind != "named":
            raise DataError(
                f"Expected a family of capabilities ({', '.join(FAMILIES.names())}), or "
                f"NAME=SPEC,NAME=SPEC; got '{name}'."
            )
        specs = FAMILIES.get(family.name)(family)
    return {
        label: str(canonical_spec(spec.with_defaults(**options))) for label, spec in specs.items()
    }


def _labelled(text: str) -> dict[str, DataSpec]:
    """Parse ``label=spec,label=spec``, or the same with semicolons."""
    separator = ";" if ";" in _outside_quotes(text) else ","
    specs: dict[str, DataSpec] = {}
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None:
            raise DataError(
                f"Expected NAME=SPEC{separator}NAME=SPEC; got '{text[position:]}' in '{text}'."
            )
        value, position = _value(text, match.end(), separator)
        if match[1] in specs:
            raise DataError(f"Expected each capability once; '{match[1]}' is twice in '{text}'.")
        specs[match[1]] = _known(value, match[1], text)
        position += 1
    return specs


def _known(value: str, label: str, text: str) -> DataSpec:
    try:
        return canonical_spec(value)
    except InputError as error:
        raise DataError(
            f"{error} (Capability '{label}' of '{text}'. Put quotes around a spec with commas.)"
        ) from error


def _value(text: str, start: int, separator: str) -> tuple[str, int]:
    """Read one spec: in quotes, or as it stands up to the separator (its escapes are its own)."""
    if text[start : start + 1] in ("'", '"'):
        return read_value(text, start, text, separator)
    end = start + len(_outside_quotes(text[start:]).split(separator)[0])
    return text[start:end], end


def _outside_quotes(text: str) -> str:
    """Return ``text`` with quoted parts blanked out, of the same length."""
    return re.sub(r"(?<==)(['\"])(?:\\.|(?!\1).)*\1", lambda m: " " * len(m[0]), text, flags=re.S)
