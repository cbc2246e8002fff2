"""JSONL that loads back: `write_examples`, and what it shares with other writers of lines."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brodmann.data.example import Example
from brodmann.errors import DataError, InputError, RunError


def write_examples(
    path: str | os.PathLike[str], examples: Sequence[Example], overwrite: bool = False
) -> None:
    """Write examples as JSONL, one a line: prompt, answer, delimiter, choices and meta.

    ``load_examples(path)`` gives equal examples in the same order, where every ``meta`` names
    its scorer and holds tuples, not lists. The file is written whole or not at all.

    Args:
        path: the file to write; its folders are made.
        examples: what to write.
        overwrite: replace a file that exists.

    Raises:
        InputError: when the file exists and ``overwrite`` is off, or it cannot be written.
        DataError: when there is nothing to write, or meta holds what JSON cannot.
        RunError: when writing fails.
    """
    write_json_lines(path, [_row(example) for example in examples], "examples", overwrite)


def check_new_file(path: Path, overwrite: bool = False) -> None:
    """Refuse a path that :func:`write_json_lines` would not write to, before any work is done.

    Raises:
        InputError: a folder, or a file that exists while ``overwrite`` is off.
    """
    if path.is_dir():
        raise InputError(f"Expected the name of a file; {path} is a folder. Add a file name.")
    if path.exists() and not overwrite:
        raise InputError(
            f"Expected a new file; {path} exists. Name another, or replace it (--overwrite)."
        )


def write_json_lines(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    what: str,
    overwrite: bool = False,
) -> None:
    """Write rows as JSONL, one a line; the file is written whole or not at all.

    Args:
        path: the file to write; its folders are made.
        rows: what to write.
        what: what the rows are, for errors ("examples").
        overwrite: replace a file that exists.

    Raises:
        InputError: when the file exists and ``overwrite`` is off, or it cannot be written.
        DataError: when there is nothing to write, or a row holds what JSON cannot.
        RunError: when writing fails.
    """
    path = Path(path)
    check_new_file(path, overwrite)
    if not rows:
        raise DataError(f"Expected {what} to write; got none.")
    text = "".join(f"{_line(row, what)}\n" for row in rows)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"Expected a place that can be written; got {path}: {error}.") from error
    except OSError as error:
        raise RunError(f"{path} was not written: {error}.") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _row(example: Example) -> dict[str, Any]:
    row: dict[str, Any] = {
        "prompt": example.prompt,
        "answer": example.answer,
        "delimiter": example.delimiter,
    }
    if example.choices:
        row["choices"] = list(example.choices)
    if example.meta:
        row["meta"] = example.meta
    return row


def _line(row: Mapping[str, Any], what: str) -> str:
    try:
        return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected JSON types in {what}; got: {error}.") from error


def _plain(value: Any) -> Any:
    """Return mappings as dicts: json knows no other kind."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
