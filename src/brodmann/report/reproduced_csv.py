"""CSV of each block: tidy (a line for each number) and in the shape of the paper's table."""

import csv
import re
from pathlib import Path
from typing import Any

from brodmann.report.reproduced_results import Reproduced
from brodmann.report.reproduced_tables import our_table, paper_tables
from brodmann.report.results import Row

_FIRST = ("block", "row", "column", "value", "low", "high", "unit", "n", "extra")
_OPERATORS = {"+": "plus", "-": "minus", "*": "times", "/": "divided", "&": "and"}


def write_csv(result: Reproduced, folder: Path) -> list[str]:
    """Write two files for each block into a folder that exists; returns their names."""
    written: list[str] = []
    for block in result.blocks:
        name = file_name(block, taken=written)
        _write(folder / f"{name}.csv", _tidy(result, block))
        _write(folder / f"{name}.table.csv", _shaped(result, block))
        written += [f"{name}.csv", f"{name}.table.csv"]
    return written


def file_name(block: str, taken: list[str]) -> str:
    """Return what the files of a block are called: letters, digits and hyphens only."""
    words = block.replace("σ", "sigma-")
    if block and set(block) <= _OPERATORS.keys():
        words = "-".join(_OPERATORS[mark] for mark in block)
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "block"
    number, unique = 2, name
    while f"{unique}.csv" in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique


def _tidy(result: Reproduced, block: str) -> list[list[Any]]:
    cells = result.cells(block)
    further = dict.fromkeys(key for cell in cells for key in cell if key not in _FIRST)
    models = [model for model in result.paper_models if result.paper_cells(block, model)]
    header = [*_FIRST, *further, *(f"paper: {model or 'no model'}" for model in models)]
    lines = [
        [cell.get(key) for key in (*_FIRST, *further)] + _theirs(result, cell, models)
        for cell in cells
    ]
    return [header, *lines]


def _theirs(result: Reproduced, cell: Row, models: list[str]) -> list[float | None]:
    if cell.get("extra"):
        return [None] * len(models)
    place = str(cell["row"]), str(cell["column"])
    found: list[float | None] = []
    for model in models:
        known = result.paper_cells(str(cell["block"]), model)
        same = [c for c in known if (c.row, c.column) == place]
        value = result.paper_value(same[0], str(cell.get("unit", ""))) if same else None
        found.append(None if value is None else round(value, 6))
    return found


def _shaped(result: Reproduced, block: str) -> list[list[Any]]:
    ours = our_table(result, block)
    lines: list[list[Any]] = [["from", "row", *ours.columns[1:]]]
    for table in (ours, *paper_tables(result, block)):
        lines += [[table.title, *row] for row in table.rows]
    return lines


def _write(path: Path, lines: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
