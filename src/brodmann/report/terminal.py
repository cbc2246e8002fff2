"""Tables and verdict on a terminal."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from brodmann.report.results import Results
from brodmann.report.tables import TextTable, all_tables

WIDTH_OF_A_PIPE = 140


def print_results(results: Results, console: Console | None = None) -> None:
    """Print the tables of a map; the last lines are its verdict in plain words."""
    console = console or terminal()
    for table in all_tables(results):
        console.print(rich_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"))
        console.print()
    for sentence in results.sentences:
        console.print(Text(f"• {sentence}"))


def rich_table(table: TextTable) -> Table:
    """Return a table for rich; cells are text, because names from files may look like markup."""
    made = Table(title=Text(table.title), title_justify="left", header_style="bold")
    for index, column in enumerate(table.columns):
        numeric = all(_is_number(row[index]) for row in table.rows)
        made.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def terminal() -> Console:
    """Return the terminal, or a wide one where stdout is none."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_PIPE)


def _is_number(cell: str) -> bool:
    return cell[:1] in "+−×–0123456789"
