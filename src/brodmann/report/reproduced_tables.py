"""The tables of a reproduced experiment: ours and the paper's in one shape, controls, verdicts."""

import math
from collections.abc import Sequence
from typing import Any

from brodmann.report.reproduced_results import Reproduced
from brodmann.report.results import Row
from brodmann.report.tables import TextTable, between, number

VERDICTS = ("supported", "not supported", "undecided at this size")
SIGNED = ("change", "margin", "nats")
"""Units of values whose sign is always written."""

_PLAIN = ("block", "row", "column", "value", "low", "high", "unit", "extra")


def our_table(result: Reproduced, block: str) -> TextTable:
    """Our numbers, in the paper's shape."""
    rows = result.names("row", block)
    columns = result.names("column", block)
    ours = result.cells(block, extra=False)
    measured = {str(cell["row"]) for cell in ours}
    note = _note(ours)
    if missing := [row for row in rows if row not in measured]:
        note += f" Not measured here: {', '.join(missing)}."
    return TextTable(
        f"This run: {result.model}", ["", *columns], _filled(ours, rows, columns), note.strip()
    )


def paper_tables(result: Reproduced, block: str) -> list[TextTable]:
    """The paper's numbers of a block, as printed: a table for each of its models."""
    tables = []
    for model in result.paper_models:
        cells = result.paper_cells(block, model)
        if not cells or result.printed is None:
            continue
        rows = list(dict.fromkeys(cell.row for cell in cells))
        columns = result.names("column", block)
        found = {(cell.row, cell.column): _as_printed(cell.printed, cell.change) for cell in cells}
        tables.append(
            TextTable(
                f"Paper: {_model_words(model)} ({result.printed.unit}, as printed)",
                ["", *columns],
                [[row, *(found.get((row, column), "–") for column in columns)] for row in rows],
            )
        )
    return tables


def control_table(result: Reproduced, block: str) -> TextTable | None:
    """The cells of a block that the paper lacks: controls and contrasts; None without any."""
    extra = result.cells(block, extra=True)
    if not extra:
        return None
    rows = result.names("row", block, extra=True)
    columns = result.names("column", block, extra=True)
    return TextTable(
        f"Not in the paper: controls and contrasts, {block}",
        ["", *columns],
        _filled(extra, rows, columns),
        _note(extra),
    )


def statistics_table(result: Reproduced) -> TextTable | None:
    """What belongs to each number besides its interval: n, p, ranks; None where nothing does."""
    cells = result.cells()
    keys = _further_keys(cells)
    if not keys:
        return None
    rows = [
        [str(cell["block"]), str(cell["row"]), str(cell["column"]), cell_text(cell)]
        + [plain_text(cell.get(key)) for key in keys]
        for cell in cells
        if any(cell.get(key) is not None for key in keys)
    ]
    return TextTable("Statistics of each number", ["block", "row", "column", "value", *keys], rows)


def recomputed_table(result: Reproduced) -> TextTable | None:
    """The paper's averages and differences that are not those of its own cells; None if all are."""
    wrong = [one for one in result.printed.recomputed if one.differs] if result.printed else []
    if not wrong:
        return None
    rows = [
        [
            one.block,
            one.row,
            one.column,
            _model_words(one.model),
            one.kind,
            f"{one.printed:g}",
            f"{one.recomputed:.2f}",
            "digits cut off" if one.cut_off else "differs",
        ]
        for one in wrong
    ]
    return TextTable(
        "Averages and differences that the paper's own cells do not give",
        ["block", "row", "column", "model", "what", "printed", "recomputed", ""],
        rows,
    )


def verdict_table(result: Reproduced) -> TextTable:
    """The verdict on each claim."""
    rows = [[claim_words(r), str(r["verdict"]), str(r["because"])] for r in result.verdict]
    return TextTable("Verdict", ["claim", "verdict", "because"], rows)


def overview_table(results: Sequence[Reproduced]) -> TextTable:
    """One line for each experiment and model."""
    rows = []
    for one in results:
        counts = [sum(row["verdict"] == v for row in one.verdict) for v in VERDICTS]
        preset = str(one.run.get("preset", "–"))
        rows.append([one.id, one.place, one.title, one.model, preset, *(f"{c}" for c in counts)])
    return TextTable(
        "Experiments",
        ["experiment", "place", "shows", "model", "preset", *VERDICTS],
        rows,
        "The last three columns count claims, each stated before the run.",
    )


def claim_words(row: Row) -> str:
    """Return a claim's name as words."""
    return str(row["claim"]).replace("_", "-")


def cell_text(cell: Row) -> str:
    """Write a cell: its value and, where it has one, its interval."""
    unit = str(cell.get("unit", ""))
    value = cell["value"]
    if value is not None and unit in ("neurons", "examples"):
        return f"{value:,.0f}"
    ends = cell.get("low"), cell.get("high")
    return between(value, *ends, digits_for(value, *ends), signed=unit in SIGNED)


def digits_for(*values: float | None) -> int:
    """Two decimals, and two significant digits where all values are below 0.1; at most five."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0)
    return 2 if largest == 0 or largest >= 0.1 else min(5, 1 - math.floor(math.log10(largest)))


def plain_text(value: Any) -> str:
    """Write what stands beside a value: numbers short, nothing as a dash."""
    if isinstance(value, float):
        return number(value, max(3, digits_for(value)))
    return "–" if value is None else str(value)


def _filled(cells: Sequence[Row], rows: Sequence[str], columns: Sequence[str]) -> list[list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        found.setdefault((str(cell["row"]), str(cell["column"])), []).append(cell_text(cell))
    lines = [[row, *("; ".join(found.get((row, c), ["–"])) for c in columns)] for row in rows]
    return [line for line in lines if any(cell != "–" for cell in line[1:])]


def _note(cells: Sequence[Row]) -> str:
    units = list(dict.fromkeys(str(cell["unit"]) for cell in cells if cell.get("unit")))
    words = f"Unit: {', '.join(units)}." if units else ""
    if any(cell.get("low") is not None for cell in cells):
        words += " In brackets: 95% intervals."
    return words.strip()


def _further_keys(cells: Sequence[Row]) -> list[str]:
    """The names of what is not in the tables already, and has a value somewhere."""
    return list(
        dict.fromkeys(
            key
            for cell in cells
            for key, value in cell.items()
            if key not in _PLAIN and value is not None and not isinstance(value, dict | list)
        )
    )


def _as_printed(value: str, change: float | None) -> str:
    told, digits = value.replace("-", "−"), len(value.partition(".")[2])
    return told if change is None else f"{told} ({number(change, digits, signed=True)})"


def _model_words(model: str) -> str:
    return {"": "no model", "not said": "model not said"}.get(model, model)
