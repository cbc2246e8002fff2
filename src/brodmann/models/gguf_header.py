"""`read_header`: what stands at the head of a GGUF file, and whether its tensors are all there.

The ``gguf`` package decodes every vocabulary string into an array, 4 to 17 seconds on small
models; this walks past them.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

from brodmann.errors import InputError

MAGIC = b"GGUF"

# The format numbers its value types; these are struct's letters for them.
_SCALARS = {**dict(enumerate("BbHhIif?")), **dict(enumerate("Qqd", 10))}
_STRING, _ARRAY = 8, 9
_LONGEST_NAME, _MOST_DIMENSIONS, _DEFAULT_ALIGNMENT = 65_535, 8, 32


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The head of a GGUF file.

    Attributes:
        metadata: the keys that hold one number or one string; arrays are left out.
        elements: how many weights are stored in each ggml type (by its number).
        extents: (type, number of weights, first byte in the file) of every tensor.
    """

    metadata: Mapping[str, Any]
    elements: Mapping[int, int]
    extents: tuple[tuple[int, int, int], ...]


def read_header(path: Path) -> GgufHeader:
    """Read the head of a GGUF file (versions 2 and 3, little-endian).

    Raises:
        InputError: the file is not GGUF, or ends within its head.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"Expected a GGUF file; {path} does not begin with 'GGUF'.")
        try:
            return _read(file)
        except (EOFError, UnicodeDecodeError, KeyError) as error:
            raise InputError(
                f"Expected a whole GGUF file; {path} is truncated or corrupt. Download it again."
            ) from error
        except _UnknownVersionError as error:
            raise InputError(
                f"Expected GGUF version 2 or 3, little-endian; {path} says version {error}."
            ) from error


def check_is_whole(path: Path, header: GgufHeader) -> None:
    """Refuse a file that ends before its last tensor does.

    Raises:
        InputError: the file is truncated, or holds a ggml type the ``gguf`` package lacks.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        sizes = {kind: GGML_QUANT_SIZES[GGMLQuantizationType(kind)] for kind in header.elements}
    except (KeyError, ValueError) as error:
        raise InputError(f"Expected known ggml types; {path} holds another ({error}).") from error
    ends = (
        begin + weights // sizes[kind][0] * sizes[kind][1]
        for kind, weights, begin in header.extents
    )
    if (needed := max(ends, default=0)) > (given := path.stat().st_size):
        raise InputError(
            f"Expected a whole GGUF file of at least {needed:,} bytes; {path} has {given:,}. "
            "Download it again."
        )


class _UnknownVersionError(Exception):
    """A version of the format that is not read here."""


def _read(file: BufferedReader) -> GgufHeader:
    if (version := _number(file, "I")) not in (2, 3):
        raise _UnknownVersionError(version)
    n_tensors, n_keys = _number(file, "Q"), _number(file, "Q")
    metadata: dict[str, Any] = {}
    for _ in range(n_keys):
        key = _text(file)
        if (value := _value(file, _number(file, "I"))) is not None:
            metadata[key] = value
    tensors = [_tensor(file) for _ in range(n_tensors)]
    alignment = int(metadata.get("general.alignment", _DEFAULT_ALIGNMENT)) or _DEFAULT_ALIGNMENT
    data = -(-file.tell() // alignment) * alignment
    elements: Counter[int] = Counter()
    for kind, weights, _ in tensors:
        elements[kind] += weights
    extents = tuple((kind, weights, data + offset) for kind, weights, offset in tensors)
    return GgufHeader(metadata, dict(elements), extents)


def _tensor(file: BufferedReader) -> tuple[int, int, int]:
    _text(file)
    if (dimensions := _number(file, "I")) > _MOST_DIMENSIONS:
        raise EOFError("no tensor has so many dimensions")
    weights = prod(_number(file, "Q") for _ in range(dimensions))
    return _number(file, "I"), weights, _number(file, "Q")


def _value(file: BufferedReader, kind: int) -> Any:
    """Return a number or a string; walk past an array and return None."""
    if kind == _STRING:
        return _text(file, longest=None)
    if kind != _ARRAY:
        return _number(file, _SCALARS[kind])
    item, count = _number(file, "I"), _number(file, "Q")
    if item in _SCALARS:
        _skip(file, count * struct.calcsize(_SCALARS[item]))
        return None
    for _ in range(count):
        if item == _STRING:
            _skip(file, _number(file, "Q"))
        else:
            _value(file, item)
    return None


def _number(file: BufferedReader, code: str) -> Any:
    size = struct.calcsize(code)
    if len(read := file.read(size)) < size:
        raise EOFError
    return struct.unpack(f"<{code}", read)[0]


def _text(file: BufferedReader, longest: int | None = _LONGEST_NAME) -> str:
    length = _number(file, "Q")
    if longest is not None and length > longest:
        raise EOFError("no name is so long")
    if length > (1 << 30) or len(read := file.read(length)) < length:
        raise EOFError
    return read.decode()


def _skip(file: BufferedReader, count: int) -> None:
    """Go on by ``count`` bytes; going past the end shows at the next read."""
    if count > (1 << 40):
        raise EOFError
    file.seek(count, 1)
