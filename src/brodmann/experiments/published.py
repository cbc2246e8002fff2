"""`published`: the numbers that the two papers print, by experiment, and what is wrong with them.

The numbers stand in ``published/dcsn.json`` and ``published/cnl.json`` as they are printed, the
digits included; averages and differences are worked out again here, and those that disagree say
so. Cells have the words that our own experiments give theirs:

- operators are ``+ - * /``, pairs ``+&-`` (the papers print +∩-), averages ``Avg.``;
- "Ours" is the method's name: ``FT-Cap``, ``Deactivate-Cap``, ``DCSN``, ``CNL``; "Locate" is
  ``Located``;
- dcsn-table-2, 9, 13, 14: blocks Enhancement and Erasure; rows Original, FT-Random, FT-w/o Cap,
  FT-Cap, or Original, Deactivate-Random, Deactivate-Cap;
- dcsn-table-3, 11: blocks Cohesion (columns: operators) and Separability (columns: pairs); rows
  DG, TF, MQ, CH, EN;
- dcsn-table-4: blocks Forward (rows as above) and Reverse (rows of erasure); columns 2-OP to 5-OP;
- dcsn-table-5: rows are what is tested (``1-OP (+)``), columns the operator whose neurons are
  erased, values signed changes;
- dcsn-table-6, 10: the block is what is tuned on, columns what is tested;
- dcsn-table-8: blocks DG, MQ, TF; columns Cohesion, Separability. dcsn-table-12: columns are σ;
- cnl-table-1: rows overlap, IoU, neuron. cnl-table-2: blocks ``σ=6, epoch 1`` and so on.
  cnl-table-3: blocks ``σ=3``, ``σ=6``, ``σ=12``. cnl-table-5: rows ``σ=6``, ``σ=3``;
- where a paper prints numbers in its text only (cnl-section-3.1, 3.2 and 4) blocks and columns are
  our words.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from brodmann.errors import UnknownNameError

AVERAGE = "Avg."
_PAPERS = ("dcsn", "cnl")
_ABSENT = "–"
# A number, and the printed arrow behind it as a signed difference: 66.9(+14.1)
_PRINTED = re.compile(r"([+-]?\d+(?:\.\d+)?)(?:\(([+-]\d+(?:\.\d+)?)\))?")
_ROUNDING = 0.6
"""In units of the last printed digit: rounding makes 0.5, and 0.1 is left for the cells' own."""


@dataclass(frozen=True)
class PublishedCell:
    """One printed number.

    Attributes:
        block: the part of the table.
        row: the row's name.
        column: the column's name.
        model: the model, as printed, or "not said".
        value: in the unit of the table.
        printed: the same with the digits that the paper prints.
        change: the difference that an arrow prints beside it, signed.
    """

    block: str
    row: str
    column: str
    model: str
    value: float
    printed: str
    change: float | None = None


@dataclass(frozen=True)
class Recomputed:
    """A printed number that follows from others in its table.

    Attributes:
        block: of the cell that prints it.
        row: likewise.
        column: likewise.
        model: likewise.
        kind: "average" of a row, or "change" from another row.
        printed: what the paper prints.
        recomputed: what its other cells give.
        differs: whether by more than rounding.
        cut_off: whether it differs only because digits were cut off rather than rounded.
    """

    block: str
    row: str
    column: str
    model: str
    kind: str
    printed: float
    recomputed: float
    differs: bool
    cut_off: bool


@dataclass(frozen=True)
class Statement:
    """A number in a paper's text that belongs to an experiment.

    Attributes:
        where: the section.
        says: what it is said to be.
        value: percent or percentage points, where ``says`` has no other unit.
        printed: the same, with its digits.
    """

    where: str
    says: str
    value: float
    printed: str


@dataclass(frozen=True)
class Published:
    """What a paper prints for one experiment.

    Attributes:
        experiment: the id.
        paper: "dcsn" or "cnl".
        place: the table, figure or section.
        title: what it is about.
        unit: of the cells: "percent", "percentage points" or "examples".
        cells: the numbers of the table; none where a figure prints none.
        statements: numbers of the text.
        recomputed: averages and differences, printed and worked out again.
        notes: where the paper contradicts itself, the other paper, or what is known.
    """

    experiment: str
    paper: str
    place: str
    title: str
    unit: str
    cells: Sequence[PublishedCell]
    statements: Sequence[Statement]
    recomputed: Sequence[Recomputed]
    notes: Sequence[str]

    @property
    def models(self) -> list[str]:
        """The models with numbers, in the order of the paper."""
        return list(dict.fromkeys(cell.model for cell in self.cells))

    def block(self, name: str) -> list[PublishedCell]:
        """Return the cells of one part of the table."""
        return [cell for cell in self.cells if cell.block == name]


def published(experiment: str) -> Published:
    """Return what the papers print for an experiment.

    Args:
        experiment: its id, such as ``"dcsn-table-2"``.

    Raises:
        UnknownNameError: when the papers have no such table, figure or section.
    """
    known = published_experiments()
    if experiment not in known:
        raise UnknownNameError("table or figure of the papers", experiment, known)
    return known[experiment]


@cache
def published_experiments() -> Mapping[str, Published]:
    """Return all that the papers print, by experiment."""
    found = {}
    for paper in _PAPERS:
        source = files("brodmann.experiments").joinpath("published", f"{paper}.json")
        for name, entry in json.loads(source.read_text(encoding="utf-8")).items():
            found[name] = _read(name, paper, entry)
    return MappingProxyType(found)


def _read(name: str, paper: str, entry: Mapping[str, Any]) -> Published:
    tables = [(table, list(_cells(name, table))) for table in entry["tables"]]
    return Published(
        experiment=name,
        paper=paper,
        place=entry["place"],
        title=entry["title"],
        unit=entry.get("unit", "percent"),
        cells=tuple(cell for _, cells in tables for cell in cells),
        statements=tuple(
            Statement(one["where"], one["says"], float(one["printed"]), one["printed"])
            for one in entry.get("statements", ())
        ),
        recomputed=tuple(
            check
            for table, cells in tables
            for check in (*_averages(cells), *_changes(cells, table.get("change_from")))
        ),
        notes=tuple(entry["notes"]),
    )


def _cells(name: str, table: Mapping[str, Any]) -> Iterator[PublishedCell]:
    for row, line in table["rows"].items():
        for column, token in zip(table["columns"], line.split(), strict=True):
            if token == _ABSENT:
                continue
            match = _PRINTED.fullmatch(token)
            if match is None:
                raise ValueError(f"{name}, {row}, {column}: '{token}' is no printed number")
            value, change = match.groups()
            yield PublishedCell(
                block=table["block"],
                row=row,
                column=column,
                model=table["model"],
                value=float(value) + 0.0,  # no negative zero
                printed=value,
                change=None if change is None else float(change) + 0.0,
            )


def _averages(cells: Sequence[PublishedCell]) -> Iterator[Recomputed]:
    """Work out again the last column of each row that is called an average."""
    for cell in cells:
        others = [c.value for c in cells if c.row == cell.row and c.column != AVERAGE]
        if cell.column == AVERAGE:
            yield _checked(cell, "average", cell.value, math.fsum(others) / len(others))


def _changes(cells: Sequence[PublishedCell], start: str | None) -> Iterator[Recomputed]:
    """Work out again the differences that arrows print."""
    before = {cell.column: cell.value for cell in cells if cell.row == start}
    for cell in cells:
        if cell.change is not None:
            yield _checked(cell, "change", cell.change, cell.value - before[cell.column])


def _checked(cell: PublishedCell, kind: str, printed: float, recomputed: float) -> Recomputed:
    last_digit = 10.0 ** -len(cell.printed.partition(".")[2])
    differs = abs(printed - recomputed) > _ROUNDING * last_digit
    return Recomputed(
        block=cell.block,
        row=cell.row,
        column=cell.column,
        model=cell.model,
        kind=kind,
        printed=printed,
        recomputed=recomputed,
        differs=differs,
        cut_off=differs and 0 < abs(recomputed) - abs(printed) < last_digit,
    )
