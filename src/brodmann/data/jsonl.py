r"""A user's own examples: a JSONL file, or a folder with train.jsonl and test.jsonl.

Each line is an object with ``prompt`` and ``answer``, or whatever columns the options name::

    {"prompt": "Q: 2+3\nA:", "answer": "5"}
    {"prompt": "The film was", "answer": "good", "choices": ["good", "bad"], "delimiter": " "}

A file is split 80/20 by a seeded hash of the prompt. In a folder the file names are the split.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from brodmann.data import rows
from brodmann.data.example import Example
from brodmann.data.rows import Row, RowReader
from brodmann.data.spec import DataSpec
from brodmann.data.split import Split, Subset, first_shuffled
from brodmann.errors import DataError

OPTIONS = rows.OPTIONS
"""The options of a file or folder, each with one line of help."""


def load_path(spec: DataSpec, subset: Subset, limit: int | None) -> list[Example]:
    """Load a JSONL file, or a folder with train.jsonl and test.jsonl.

    Args:
        spec: a spec of the kind ``"path"``.
        subset: the split and part.
        limit: the first so many after a seeded shuffle; None for all, in their order.

    Raises:
        DataError: when a file is missing or empty, a line cannot be used, or there are fewer
            examples than ``limit``.
    """
    path, what = Path(spec.name).expanduser(), f"{spec.name} ({subset})"
    reader = RowReader(spec)
    if path.is_dir():
        files, subset = _files(path, subset.split), subset.of("all")
    else:
        files = [path]
    # Read whole before it is split, so that the default scorer does not depend on the split.
    examples = reader.read([row for file in files for row in read_rows(file)])
    held = [example for example in examples if subset.holds(example.prompt)]
    if not held:
        raise DataError(f"Expected rows in {what}; there are none among its {len(examples)}.")
    return first_shuffled(held, limit, subset.seed, what)


def read_rows(path: Path) -> list[Row]:
    """Read a JSONL file; lines with nothing on them are skipped.

    Raises:
        DataError: when the file is missing, cannot be read or holds no row, or a line is not
            UTF-8, not JSON or not an object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"Expected a JSONL file at {path}; there is none.") from None
    except OSError as error:
        raise DataError(f"Expected a JSONL file; {path} cannot be read: {error}.") from error
    found = list(parse_rows(data.removeprefix(b"\xef\xbb\xbf"), path))
    if not found:
        raise DataError(f"Expected rows with a prompt and an answer; {path} is empty.")
    return found


def parse_rows(data: bytes, path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL file's bytes; ``path`` names the file in errors.

    Raises:
        DataError: for a line that is not UTF-8, not JSON or not an object.
    """
    # Split bytes at \n alone: text may hold other line separators inside a JSON string.
    for number, line in enumerate(data.split(b"\n"), start=1):
        where = f"line {number} of {path}"
        if line.strip():
            yield Row(_parsed(line, where), where)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} is not UTF-8. Save the file as UTF-8."
        raise DataError(f"Expected UTF-8 text in {where}; {reason}") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
        raise DataError(f"Expected one JSON object in {where}; got: {reason}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"Expected one JSON object in {where}; got: {error}.") from None
    if not isinstance(value, dict):
        raise DataError(f"Expected one JSON object in {where}; got {type(value).__name__}.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not JSON")


def _files(folder: Path, split: Split) -> list[Path]:
    """Return the files of a split in a folder."""
    there = [name for name in ("train", "test") if (folder / f"{name}.jsonl").is_file()]
    wanted = there if split == "all" else [name for name in there if name == split]
    if not wanted:
        has = " and ".join(f"{name}.jsonl" for name in there) or "neither"
        missing = "train.jsonl and test.jsonl" if split == "all" else f"{split}.jsonl"
        raise DataError(
            f"Expected {missing} in the folder {folder}; it has {has}. "
            "Write split=all for what is there, or give the path of one file."
        )
    return [folder / f"{name}.jsonl" for name in wanted]
