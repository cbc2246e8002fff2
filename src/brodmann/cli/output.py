"""What goes to stdout: tables for people, or one JSON value for programs; notes go to stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_PIPE = 120


def print_json(value: Any) -> None:
    """Print one JSON value and nothing else; numbers that are not finite become null."""
    from brodmann.storage import plain

    print(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", columns: Sequence[str] = ()
) -> None:
    """Print rows as a table.

    Args:
        rows: one mapping of column to cell for each row; a missing cell stays empty.
        title: a line above the table.
        columns: which columns, in order; by default the first row's.
    """
    names = list(columns or (rows[0] if rows else ()))
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for name in names:
        numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        # Text, because words from a model or a file may look like markup.
        table.add_row(*(Text(cell_text(row.get(name))) for name in names))
    _console().print(table)


def print_text(text: str) -> None:
    """Print text for people on stdout, as it is."""
    print(text)


def note(text: str) -> None:
    """Tell what happened, on stderr."""
    print(text, file=sys.stderr)


def cell_text(value: Any) -> str:
    """Write one cell: four significant digits, a dash for nothing, lists joined by spaces."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(cell_text(entry) for entry in value)
    return str(value)


def percent(share: float) -> str:
    """Write a share as a percentage with three significant digits."""
    return f"{100 * share:.3g}%"


def _console() -> Console:
    if sys.stdout.isatty():
        return Console()
    return Console(width=WIDTH_OF_A_PIPE)
