"""Reproduced tables and figures on a terminal; the verdict comes last."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from brodmann.report.reproduced_results import Reproduced, find_reproduced
from brodmann.report.reproduced_tables import (
    claim_words,
    control_table,
    our_table,
    overview_table,
    paper_tables,
)
from brodmann.report.tables import TextTable
from brodmann.report.terminal import rich_table, terminal


def print_reproduced(folder: str | Path, console: Console | None = None) -> None:
    """Print the tables of one result, or an overview of many; the last lines are the verdicts.

    Args:
        folder: one result of ``brodmann reproduce``, or a folder with many.
        console: where to.

    Raises:
        InputError: when there is no result, or it cannot be read.
    """
    console = console or terminal()
    results = find_reproduced(folder)
    if len(results) > 1:
        _print_table(console, overview_table(results))
    for result in results:
        if len(results) == 1:
            _print_tables(console, result)
        console.print(Text(f"{result.place}: {result.title} ({result.model})", style="bold"))
        for row in result.verdict:
            console.print(Text(f"• {claim_words(row)}: {row['verdict']}. {row['because']}"))


def _print_tables(console: Console, result: Reproduced) -> None:
    for block in result.blocks:
        if block in result.paper_blocks:
            console.print(Text(block, style="bold"))
        for table in (our_table(result, block), *paper_tables(result, block)):
            _print_table(console, table)
        if (controls := control_table(result, block)) is not None:
            _print_table(console, controls)


def _print_table(console: Console, table: TextTable) -> None:
    if not table.rows:
        return
    console.print(rich_table(table))
    if table.note:
        console.print(Text(table.note, style="dim"))
    console.print()
