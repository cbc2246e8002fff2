"""Folders and files of results: written whole or not at all, read back or refused in one line."""

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from brodmann.errors import BrodmannError, InputError, RunError

MARKERS = ("run.json", "set.json", ".brodmann")
"""A folder that holds one of these was made by brodmann and may be overwritten."""

_METADATA_KEY = "brodmann"
_JSON_COLUMN = {b"brodmann": b"json"}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_folder(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Make a folder of results, whole or not at all.

    Yields a temporary folder beside ``path`` to write into. It takes the name ``path`` when the
    block ends well, and is removed when the block raises; an older folder is replaced only then.

    Args:
        path: the folder to make; parents are made too. An empty folder counts as not there.
        overwrite: replace a folder that brodmann made earlier.

    Raises:
        InputError: when ``path`` holds something that may not be replaced, or cannot be written.
        RunError: when the disk is full.
    """
    check_new_folder(path, overwrite)
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with _writing(Path(path)):
            temporary.mkdir(parents=True)
            yield temporary
            if not any((temporary / marker).exists() for marker in MARKERS):
                (temporary / ".brodmann").touch()
            _move_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Tuples become lists, paths strings, numpy and torch scalars numbers. Numbers that are not
    finite become null: JSON has no word for them.
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with _replacing(Path(path)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        InputError: when the file is missing or is not JSON.
    """
    with _reading(Path(path), "JSON"):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors and text to one safetensors file, atomically; equal input gives equal bytes.

    Args:
        path: the file.
        tensors: named tensors of any shape, device and layout.
        metadata: text to keep beside them.
    """
    # Copies: safetensors refuses tensors that share memory. One metadata key, because the order
    # of several is random in the file.
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    packed = {_METADATA_KEY: json.dumps(dict(metadata or {}), sort_keys=True)}
    with _replacing(Path(path)) as temporary:
        save_file(copies, temporary, metadata=packed)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`write_tensors` wrote: the tensors (on the CPU) and the metadata.

    Raises:
        InputError: when the file is missing, corrupt, or was not written by brodmann.
    """
    path = Path(path)
    with _reading(path, "safetensors"), safe_open(path, framework="pt") as file:
        packed = (file.metadata() or {}).get(_METADATA_KEY)
        if packed is None:
            raise InputError(f"Expected tensors written by brodmann; {path} comes from elsewhere.")
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(packed)  # noqa: SIM118


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of JSON types as a parquet table, atomically.

    The columns are the union of the rows' keys, in order of appearance; a missing cell reads back
    as None. A column of mappings, or of mixed types, is kept as JSON text and reads back as it was.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_column([_plain_cell(row.get(name)) for row in rows]) for name in names]
    fields = [
        pa.field(name, column.type, metadata=_JSON_COLUMN if as_json else None)
        for name, (column, as_json) in zip(names, columns, strict=True)
    ]
    table = pa.Table.from_arrays([column for column, _ in columns], schema=pa.schema(fields))
    with _replacing(Path(path)) as temporary:
        pq.write_table(table, temporary)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the rows of a parquet table.

    Raises:
        InputError: when the file is missing or is not parquet.
    """
    with _reading(Path(path), "parquet"):
        table = pq.read_table(Path(path))
        as_json = {
            field.name
            for field in table.schema
            if (field.metadata or {}).get(b"brodmann") == _JSON_COLUMN[b"brodmann"]
        }
        return [
            {
                name: json.loads(cell) if name in as_json and cell is not None else cell
                for name, cell in row.items()
            }
            for row in table.to_pylist()
        ]


def check_new_folder(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Refuse what :func:`new_folder` would refuse, before long work starts.

    Raises:
        InputError: when ``path`` holds something that may not be replaced.
    """
    given, target = Path(path), Path(path).resolve()
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"Expected a folder to write to; {given} is a file. Give another name.")
    names = {entry.name for entry in target.iterdir()}
    if names and not overwrite:
        raise InputError(
            f"Expected a new folder; {given} exists. Give another name or add --overwrite."
        )
    if names and names.isdisjoint(MARKERS):
        raise InputError(
            f"Expected a folder made by brodmann to overwrite; {given} holds other files. "
            "Give another name."
        )


def _move_into_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.replace(target)
        return
    old = temporary.with_suffix(".old")
    target.replace(old)
    try:
        temporary.replace(target)
    except BaseException:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name; what is written there takes the name ``path``, synced to disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the failures of a disk into one line; leave every other exception alone."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, BrodmannError):
            raise
        if _is_disk_full(error):
            raise RunError(f"The disk is full: {path} was not written. Free some space.") from error
        if isinstance(error, PermissionError | NotADirectoryError) or (
            isinstance(error, OSError) and error.errno == errno.EROFS
        ):
            raise InputError(
                f"Expected a place that can be written; {path} cannot ({error.strerror})."
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    # safetensors reports the system's error as text only.
    return any(f"os error {code}" in str(error) for code in _DISK_FULL)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"Expected a {kind} file at {path}; there is none.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"Expected a {kind} file; {path} cannot be read.") from error
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError, pa.ArrowException):
        raise InputError(
            f"Expected a {kind} file; {path} is corrupt or something else. Make it again."
        ) from None


def plain(value: Any) -> Any:
    """Return ``value`` in JSON types; what has none is left for ``json`` to refuse."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, str | int | float) and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_cell(value: Any) -> Any:
    """Return ``value`` in JSON types, but a number as it is: parquet has a NaN, JSON has none."""
    return value if isinstance(value, float) else plain(value)


def _column(cells: list[Any]) -> tuple[pa.Array, bool]:
    """Return the cells as an Arrow column, and whether they had to become JSON text."""
    if not any(_holds_mapping(cell) for cell in cells):
        try:
            column = pa.array(cells)
            if column.to_pylist() == cells or all(isinstance(c, int | float | None) for c in cells):
                return column, False
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass  # mixed types, or an integer too large: JSON text below
    texts = [None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in cells]
    return pa.array(texts, pa.string()), True


def _holds_mapping(cell: Any) -> bool:
    """Parquet has structs, but no empty ones, and fills in the keys that one row lacks."""
    if isinstance(cell, list):
        return any(_holds_mapping(entry) for entry in cell)
    return isinstance(cell, Mapping)
