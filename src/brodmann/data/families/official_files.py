"""Readers for the files of official releases: a path in, raw rows out.

:func:`table` knows by the content of a file what it holds. The other formats are those of one
release each; what a row is and where its label stands is said in the docstring.
"""

import gzip
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brodmann.data.jsonl import parse_rows
from brodmann.data.rows import Row
from brodmann.errors import DataError


def table(path: Path) -> list[Row]:
    """Read JSON lines, a JSON list of objects, or parquet; gzipped or not.

    Raises:
        DataError: when the file is none of them, or empty.
    """
    data = _bytes(path)
    if data.startswith(b"PAR1"):
        rows = _parquet(data, path)
    elif data.lstrip().startswith(b"["):
        rows = _json_list(data, path)
    else:
        rows = list(parse_rows(data, path))
    return _not_empty(rows, path)


def labelled_lines(path: Path) -> list[Row]:
    """Read lines ``text;label`` (emotion); the last semicolon counts.

    Raises:
        DataError: for a line without a semicolon.
    """
    rows = []
    for where, line in _lines(path):
        text, mark, label = line.rpartition(";")
        if not mark:
            raise DataError(f"Expected text;label in {where}; got '{line[:40]}'.")
        rows.append(Row({"text": text, "label": label}, where))
    return _not_empty(rows, path)


def headed_columns(path: Path) -> list[Row]:
    """Read tab-separated lines under a line of column names (EmoContext); quotes are text.

    Raises:
        DataError: for a line with another number of columns.
    """
    (_, head), *lines = _lines(path) or [("", "")]
    names = head.split("\t")
    rows = [Row(dict(zip(names, _cells(line, len(names), where), strict=True)), where)
            for where, line in lines]  # fmt: skip
    return _not_empty(rows, path)


def label_numbers(path: Path) -> list[Row]:
    """Read lines ``text<TAB>3,7<TAB>id`` (GoEmotions).

    The numbers are lines of ``emotions.txt`` (or ``labels.txt``) beside the file, where it is.

    Raises:
        DataError: for a line of another form, or a number without a name.
    """
    names = _names(path.parent, ("emotions.txt", "labels.txt"))
    rows = []
    for where, line in _lines(path):
        text, numbers, row_id = _cells(line, 3, where)
        labels: list[str | int] = [_number(number, where) for number in numbers.split(",")]
        if names:
            labels = [_named(int(number), names, where) for number in labels]
        rows.append(Row({"text": text, "labels": labels, "id": row_id}, where))
    return _not_empty(rows, path)


def parallel_lines(path: Path) -> list[Row]:
    """Read ``train_text.txt`` with the numbers of ``train_labels.txt`` (TweetEval).

    ``mapping.txt`` beside them gives each number its name.

    Raises:
        DataError: when the files differ in length, or a number has no name.
    """
    labels_path = path.with_name(path.name.replace("_text", "_labels"))
    texts, labels = _lines(path), _lines(labels_path)
    if len(texts) != len(labels):
        raise DataError(
            f"Expected as many lines in {labels_path} as in {path}; "
            f"got {len(labels)} and {len(texts)}."
        )
    names: dict[int, str] = {}
    if (mapping := path.with_name("mapping.txt")).is_file():
        for where, line in _lines(mapping):
            number, name = _cells(line.rstrip(), 2, where)
            names[_number(number, where)] = name
    rows = []
    for (where, text), (_, label) in zip(texts, labels, strict=True):
        number = _number(label, where)
        rows.append(Row({"text": text, "label": names.get(number, number)}, where))
    return _not_empty(rows, path)


def review(path: Path) -> list[Row]:
    """Read one review of ``aclImdb/train/pos/0_9.txt``; its folder is its label."""
    values = {"text": _text(path), "label": path.parent.name, "id": path.stem}
    return [Row(values, str(path))]


def problem_folder(path: Path) -> list[Row]:
    """Read one problem of APPS, ``train/0000/question.txt`` and what stands beside it."""
    values: dict[str, Any] = {"problem_id": path.parent.name, "question": _text(path)}
    for column, name in (
        ("solutions", "solutions.json"),
        ("input_output", "input_output.json"),
        ("starter_code", "starter_code.py"),
    ):
        beside = path.with_name(name)
        values[column] = _text(beside) if beside.is_file() else ""
    return [Row(values, str(path.parent))]


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Expected a file of data; {path} cannot be read: {error}.") from error
    return data.removeprefix(b"\xef\xbb\xbf")


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected UTF-8 text in {path}; byte {error.start + 1} is not. Save it as UTF-8."
        ) from None


def _lines(path: Path) -> list[tuple[str, str]]:
    """Return (where, line) for each line that is not blank; only a new line ends one."""
    lines = _text(path).replace("\r\n", "\n").split("\n")
    return [(f"line {n} of {path}", line) for n, line in enumerate(lines, 1) if line.strip()]


def _parquet(data: bytes, path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        records = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise DataError(f"Expected a parquet file; {path} cannot be read: {reason}.") from error
    return [Row(record, f"row {n} of {path}") for n, record in enumerate(records)]


def _json_list(data: bytes, path: Path) -> list[Row]:
    try:
        records = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"Expected a JSON list in {path}; got: {error}.") from None
    rows = []
    for number, record in enumerate(records):
        where = f"row {number} of {path}"
        if not isinstance(record, dict):
            raise DataError(f"Expected a JSON object as {where}; got {type(record).__name__}.")
        rows.append(Row(record, where))
    return rows


def _cells(line: str, count: int, where: str) -> list[str]:
    cells = line.split("\t")
    if len(cells) != count:
        raise DataError(f"Expected {count} columns parted by tabs in {where}; got {len(cells)}.")
    return cells


def _number(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"Expected the number of a label in {where}; got '{text}'.") from None


def _names(folder: Path, files: Sequence[str]) -> list[str]:
    there = [folder / name for name in files if (folder / name).is_file()]
    return [line.strip() for _, line in _lines(there[0])] if there else []


def _named(number: int, names: Sequence[str], where: str) -> str:
    if not 0 <= number < len(names):
        raise DataError(f"Expected a label from 0 to {len(names) - 1} in {where}; got {number}.")
    return names[number]


def _not_empty(rows: list[Row], path: Path) -> list[Row]:
    if not rows:
        raise DataError(f"Expected rows in {path}; it is empty.")
    return rows
