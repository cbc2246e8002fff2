"""`write_examples`: examples to JSONL that loads back to equal examples."""

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
    path = Path(path)
    if path.is_dir():
        raise InputError(f"Expected the name of a file; {path} is a folder. Add a file name.")
    if path.exists() and not overwrite:
        raise InputError(f"Expected a new file; {path} exists. Write --overwrite to replace it.")
    if not examples:
        raise DataError("Expected examples to write; got none.")
    text = "".join(f"{_line(example)}\n" for example in examples)
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


def _line(example: Example) -> str:
    row: dict[str, Any] = {
        "prompt": example.prompt,
        "answer": example.answer,
        "delimiter": example.delimiter,
    }
    if example.choices:
        row["choices"] = list(example.choices)
    if example.meta:
        row["meta"] = _plain(example.meta)
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected JSON types in an example's meta; got: {error}.") from error


def _plain(value: Any) -> Any:
    """Return mappings as dicts: json knows no other kind."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
