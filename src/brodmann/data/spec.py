r"""`DataSpec`: the words that name a data set, ``NAME[/PART][:key=value,...]``.

========================  =======================================================
``arithmetic/add-mul``    a named set, with a part
``my/rows.jsonl``         a file or folder; a path that exists wins over a name
``hub:ORG/NAME@REV``      a set on the Hugging Face Hub
========================  =======================================================

Options follow the first colon after the name. A value runs to the next comma; ``\n``, ``\t``,
``\,`` and ``\\`` stand for a new line, a tab, a comma and a backslash. A value in single or
double quotes may hold commas as they are::

    rows.jsonl:template='Q: {question}, please\nA:',answer=solution

A shell removes quotes of its own, so there the whole spec is quoted once more.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from brodmann.errors import DataError, UnknownNameError

Kind = Literal["named", "path", "hub"]

_HUB = "hub:"
_KEY = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", ",": ",", "'": "'", '"': '"'}
_ESCAPED = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NEEDS_QUOTES = re.compile(r"""[,\\\n\t\r;]|^['"\s]|\s$""")


@dataclass(frozen=True)
class DataSpec:
    """A parsed data spec; ``str()`` gives one canonical spelling, which parses back to it.

    Attributes:
        name: the set's name, a path, or ``ORG/NAME[@REV]`` on the hub.
        part: what follows the slash of a named set (``"add-mul"``), else empty.
        options: the options by name, sorted.
        kind: what ``name`` is.
    """

    name: str
    part: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "named"

    def __post_init__(self) -> None:
        options = MappingProxyType(dict(sorted(self.options.items())))
        object.__setattr__(self, "options", options)

    @classmethod
    def parse(cls, text: "str | DataSpec") -> "DataSpec":
        """Parse a spec; one that is parsed already is returned as it is.

        Raises:
            DataError: when the text does not follow the grammar.
        """
        if isinstance(text, DataSpec):
            return text
        kind, name, rest = _split_name(text)
        part = ""
        if kind == "named":
            name, _, part = name.partition("/")
        if not name.strip():
            raise DataError(f"Expected a data spec NAME[/PART][:key=value,...]; got '{text}'.")
        return cls(name, part, parse_options(rest, text), kind)

    def with_options(self, **options: str | int | bool) -> "DataSpec":
        """Return this spec with ``options`` set; they replace options of the same name."""
        return self._with({**self.options, **_texts(options)})

    def with_defaults(self, **options: str | int | bool) -> "DataSpec":
        """Return this spec with those of ``options`` that it does not set itself."""
        return self._with({**_texts(options), **self.options})

    def without(self, *names: str) -> "DataSpec":
        """Return this spec without the options called ``names``."""
        return self._with({key: text for key, text in self.options.items() if key not in names})

    def check_options(self, known: Iterable[str]) -> None:
        """Refuse options that the set does not have.

        Raises:
            UnknownNameError: for the first option that is not in ``known``.
        """
        names = tuple(known)
        for name in self.options:
            if name not in names:
                raise UnknownNameError(f"data option of '{self.head}'", name, names)

    @property
    def head(self) -> str:
        """The spec without its options."""
        name = f"{self.name}/{self.part}" if self.part else self.name
        return _HUB + name if self.kind == "hub" else name

    def _with(self, options: Mapping[str, str]) -> "DataSpec":
        return DataSpec(self.name, self.part, options, self.kind)

    def __str__(self) -> str:
        options = ",".join(f"{key}={quoted(text)}" for key, text in self.options.items())
        return f"{self.head}:{options}" if options else self.head

    def __hash__(self) -> int:
        return hash((self.kind, str(self)))

    def __reduce__(self) -> tuple[type, tuple[str, str, dict[str, str], Kind]]:
        # A mapping proxy does not pickle; worker processes need specs.
        return DataSpec, (self.name, self.part, dict(self.options), self.kind)


def parse_options(text: str, spec: str) -> dict[str, str]:
    """Parse ``key=value,key=value``; ``spec`` is the whole text, for the error.

    Raises:
        DataError: on a missing ``=``, a quote that does not close, an unknown escape, or an
            option that is given twice.
    """
    options: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None:
            raise DataError(
                f"Expected key=value in the data spec '{spec}'; got '{text[position:]}'. "
                "Put quotes around a value that holds a comma."
            )
        key = match[1]
        if key in options:
            raise DataError(f"Expected each option once; the data spec '{spec}' has {key}= twice.")
        options[key], position = read_value(text, match.end(), spec)
        if position < len(text) and position + 1 == len(text):
            raise DataError(f"Expected an option after the last comma; got the data spec '{spec}'.")
        position += 1
    return options


def read_value(text: str, start: int, spec: str, end: str = ",") -> tuple[str, int]:
    """Read one value from ``start``; return it and where it ended (at ``end``, or at the end).

    Raises:
        DataError: on a quote that does not close, text after it, or an unknown escape.
    """
    quote = text[start : start + 1] if text[start : start + 1] in ("'", '"') else ""
    position, letters = start + len(quote), list[str]()
    while position < len(text) and text[position] != (quote or end):
        letter = text[position]
        if letter == "\\":
            position += 1
            escape = text[position : position + 1]
            if escape not in _ESCAPES or not escape:
                raise DataError(
                    f"Expected one of \\n \\t \\r \\, \\' \\\" or \\\\ in the data spec '{spec}'; "
                    f"got '\\{escape}'. Write \\\\ for a backslash."
                )
            letter = _ESCAPES[escape]
        letters.append(letter)
        position += 1
    if not quote:
        return "".join(letters), position
    if position >= len(text) or text[position + 1 : position + 2] not in ("", end):
        raise DataError(
            f"Expected a closing {quote} and then a comma or the end, in the data spec '{spec}'."
        )
    return "".join(letters), position + 1


def quoted(text: str) -> str:
    """Return ``text`` as it stands in a spec: in quotes only where it must be."""
    if not _NEEDS_QUOTES.search(text):
        return text
    return "'" + "".join(_ESCAPED.get(letter, letter) for letter in text) + "'"


def path_exists(text: str) -> bool:
    """Tell whether ``text`` names a file or folder that is there."""
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, no home
        return False


def _split_name(text: str) -> tuple[Kind, str, str]:
    """Split a spec into its kind, its name and the text of its options."""
    if text.startswith(_HUB):
        name, _, rest = text.removeprefix(_HUB).partition(":")
        return "hub", name, rest
    ends = [len(text), *(i for i in range(len(text) - 1, 0, -1) if text[i] == ":")]
    for end in ends:  # the longest path that exists: names of files may hold colons
        if path_exists(text[:end]):
            return "path", text[:end], text[end + 1 :]
    name, _, rest = text.partition(":")
    is_path = name.startswith((".", "/", "~")) or name.endswith((".jsonl", ".json"))
    return "path" if is_path else "named", name, rest


def _texts(options: Mapping[str, str | int | bool]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
    }
