"""Tables as pictures: our numbers with their intervals beside the paper's numbers."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from brodmann.report.figure_style import COLOURS, CYCLE, panels, picture, short
from brodmann.report.reproduced_results import Reproduced
from brodmann.report.results import Row

PAPER_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "p")
_PAPER, _CONTROL = "#707070", COLOURS["raw"]
_MOST_CONTROLS = 14
"""So many rows of controls can be read in one panel; the tables have all."""


def draw_dots(result: Reproduced, path: Path) -> str:
    """Draw a panel for each block and column, a line for each row; returns what it shows."""
    blocks = result.paper_blocks
    columns = {block: result.names("column", block) for block in blocks}
    rows = {block: _rows(result, block) for block in blocks}
    most = max((len(names) for names in columns.values()), default=1)
    longest = max((len(row) for names in rows.values() for row in names), default=0)
    width = max(5.5, 1.0 + 0.085 * min(longest, 26) + 1.75 * most)
    heights = [0.75 + 0.24 * max(2, len(names)) for names in rows.values()] or [1.0]
    title = f"{result.place}: {result.title}"
    with picture(path, width, 0.9 + sum(heights), title, svg=True) as figure:
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
        for part, block in zip(parts[:, 0].tolist(), blocks, strict=False):
            line = panels(part, 1, most)[0]
            part.suptitle(short(block, 60), ha="left", x=0.01, fontweight="bold", fontsize=9)
            for axes, column in zip(line, columns[block], strict=False):
                _panel(axes, result, block, column, rows[block])
                axes.set_title(short(column, 20), loc="left")
            _finish(line, len(columns[block]), rows[block])
        legend(figure, result)
    return (
        f"{result.title}. Filled: {result.model}, with 95% intervals; grey: the paper's numbers, "
        "which have none."
    )


def legend(figure: Figure, result: Reproduced) -> None:
    """Say below a figure which mark is whose."""
    handles = [mark("o", CYCLE[0], short(result.model, 40))]
    if any(result.cells(extra=True)):
        handles.append(mark("d", _CONTROL, "not in the paper"))
    for index, model in enumerate(result.paper_models):
        words = f"paper: {model}" if model not in ("", "not said") else "paper"
        handles.append(_hollow(index, words))
    figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False)


def mark(marker: str, colour: str, label: str) -> Line2D:
    """Return the entry of a legend."""
    return Line2D([], [], ls="", marker=marker, color=colour, markersize=5, label=label)


def _hollow(index: int, label: str) -> Line2D:
    marker = PAPER_MARKERS[index % len(PAPER_MARKERS)]
    return Line2D(
        [], [], ls="", marker=marker, markeredgecolor=_PAPER, markerfacecolor="none",
        markersize=5, label=label,
    )  # fmt: skip


def _rows(result: Reproduced, block: str) -> list[str]:
    """The lines of a block; those of controls only where they are on one of its scales."""
    rows = result.names("row", block)
    shared = {(str(c["column"]), c.get("unit")) for c in result.cells(block, extra=False)}
    controls = [
        c for c in result.cells(block, extra=True) if (str(c["column"]), c.get("unit")) in shared
    ]
    extra = list(
        dict.fromkeys(str(cell["row"]) for cell in controls if str(cell["row"]) not in rows)
    )
    return rows + (extra if len(extra) <= _MOST_CONTROLS else [])


def _panel(axes: Axes, result: Reproduced, block: str, column: str, rows: Sequence[str]) -> None:
    ours = [c for c in result.cells(block) if str(c["column"]) == column and str(c["row"]) in rows]
    unit = next((str(cell["unit"]) for cell in ours if not cell.get("extra")), "")
    for cell in ours:
        if cell["value"] is not None and str(cell["unit"]) == unit:
            _dot(axes, cell, rows.index(str(cell["row"])))
    for cell in result.paper_cells(block):
        value = result.paper_value(cell, unit)
        if cell.column == column and value is not None and cell.row in rows:
            index = result.paper_models.index(cell.model)
            axes.plot(
                [value], [rows.index(cell.row) + 0.18], ls="", markersize=4.5,
                marker=PAPER_MARKERS[index % len(PAPER_MARKERS)], markeredgecolor=_PAPER,
                markerfacecolor="none", markeredgewidth=0.9,
            )  # fmt: skip
    if unit == "change":
        axes.axvline(0, color="#404040", lw=0.7)


def _dot(axes: Axes, cell: Row, place: int) -> None:
    extra = bool(cell.get("extra"))
    colour, marker = (_CONTROL, "d") if extra else (CYCLE[0], "o")
    y = place - (0.05 if extra else 0.18)
    if cell.get("low") is not None and cell.get("high") is not None:
        axes.plot([cell["low"], cell["high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
    axes.plot([cell["value"]], [y], ls="", marker=marker, color=colour, markersize=4.5)


def _finish(line: Sequence[Axes], used: int, rows: Sequence[str]) -> None:
    """Give the panels of a block one scale, and write the names of its rows once."""
    for axes in line[used:]:
        axes.axis("off")
    drawn = [axes for axes in line[:used] if axes.lines]
    low = min((axes.dataLim.x0 for axes in drawn), default=0.0)
    high = max((axes.dataLim.x1 for axes in drawn), default=1.0)
    room = 0.06 * (high - low) or 0.05
    for index, axes in enumerate(line[:used]):
        axes.set_xlim(low - room, high + room)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [short(row, 26) for row in rows] if not index else [])
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color="#e0e0e0", lw=0.6)
        for place in range(1, len(rows)):
            axes.axhline(place - 0.5, color="#f0f0f0", lw=0.6)
