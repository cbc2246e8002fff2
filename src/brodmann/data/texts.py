"""`load_texts`: running text, such as the corpus that an edit's key covariance is taken over."""

import os
from pathlib import Path

from brodmann.data.families.official_files import table
from brodmann.data.hub import downloaded, split_rows
from brodmann.data.prompt_template import to_text
from brodmann.data.rows import Row
from brodmann.data.spec import DataSpec
from brodmann.errors import DataError

_ROWS = (".jsonl", ".json", ".parquet", ".gz")


def load_texts(source: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the texts of a file or of a hub set.

    Args:
        source: rows with a column ``text`` (JSON lines, a JSON list, parquet; ``hub:ORG/NAME``
            with ``config=``, all of its splits), or any other file as plain text in UTF-8, whose
            paragraphs are parted by empty lines.

    Raises:
        DataError: a file that is missing, empty or not UTF-8, or a row without text.
        RunError: the hub cannot be reached.
    """
    spec = DataSpec.parse(os.fspath(source))
    spec.check_options(["config"] if spec.kind == "hub" else [])
    path = Path(spec.name).expanduser()
    if spec.kind == "hub":
        rows = [
            row for name, part in downloaded(spec).items() for row in split_rows(part, name, spec)
        ]
        found = _column(rows)
    elif not path.is_file():
        raise DataError(f"Expected a file of text at {source}; there is none.")
    else:
        found = _column(table(path)) if path.suffix in _ROWS else _paragraphs(path)
    if not found:
        raise DataError(f"Expected text in {source}; it is empty.")
    return found


def _column(rows: list[Row]) -> tuple[str, ...]:
    for row in rows:
        if "text" not in row.values:
            raise DataError(
                f"Expected a column 'text' in {row.where}; its columns are "
                f"{', '.join(map(str, row.values)) or 'none'}. Rename one, or give plain text."
            )
    texts = (to_text(row.values["text"], f"'text' in {row.where}") for row in rows)
    return tuple(text for text in texts if text.strip())


def _paragraphs(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected a file of UTF-8 text; {path} cannot be read: {error}.") from None
    lines = ("" if not line.strip() else line for line in text.splitlines())
    return tuple(part.strip() for part in "\n".join(lines).split("\n\n") if part.strip())
