"""Figures of the papers that are drawn as lines or as bars: ours with intervals."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from brodmann.experiments.published import AVERAGE
from brodmann.report.figure_style import COLOURS, CYCLE, MARKERS, panels, picture, short
from brodmann.report.reproduced_dots import PAPER_MARKERS
from brodmann.report.reproduced_results import Reproduced
from brodmann.report.results import Row

_PAPER = "#707070"
_MOST_PANELS = 6
_ACROSS = 3


def draw_lines(result: Reproduced, path: Path) -> str:
    """Draw rows as lines over the columns; where the paper has numbers, a panel for each row."""
    lines = _layout(result)
    across = max((len(line) for line in lines), default=1)
    width = 1.2 + across * (2.3 if across > 3 else 3.2)
    title = f"{result.place}: {result.title}"
    with picture(path, width, 0.9 + 2.5 * max(1, len(lines)), title, svg=True) as figure:
        grid = panels(figure, max(1, len(lines)), across)
        for row, line in zip(grid, lines, strict=False):
            for axes, (block, rows, name) in zip(row, line, strict=False):
                _lines_panel(axes, result, block, rows)
                axes.set_title(short(name, 30), loc="left")
            _share_y(row[: len(line)])
            row[0].set_ylabel(_unit(result.cells(line[0][0])))
            for axes in row[len(line) :]:
                axes.axis("off")
        known = {
            label: handle
            for row in grid
            for axes in row
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if known:
            figure.legend(
                list(known.values()), list(known), loc="outside lower left", ncols=4, frameon=False
            )
    return (
        f"{result.title}. Lines with bands: {result.model}, 95% intervals. Grey and dashed: the "
        "paper's numbers where it prints any; grey and dotted: not in the paper."
    )


def _layout(result: Reproduced) -> list[list[tuple[str, list[str], str]]]:
    """Return lines of panels: block, rows and title of each.

    Blocks with numbers of the paper have a line each, and a panel for each row; others a panel.
    """
    blocks = result.paper_blocks
    if any(result.paper_cells(block) for block in blocks):
        return [
            [(block, rows, f"{block}: {rows[0]}") for rows in _groups(result, block)]
            for block in blocks
        ]
    flat = [
        (block, result.names("row", block) + _controls(result, block), block) for block in blocks
    ]
    return [flat[start : start + _ACROSS] for start in range(0, len(flat), _ACROSS)]


def draw_bars(result: Reproduced, path: Path) -> str:
    """Draw bars side by side: a group for each row, a colour for each column."""
    blocks = result.paper_blocks
    title = f"{result.place}: {result.title}"
    with picture(path, 8.5, 0.9 + 2.9 * len(blocks), title, svg=True) as figure:
        grid = panels(figure, max(1, len(blocks)), 1)
        for (axes,), block in zip(grid, blocks, strict=False):
            _bars_panel(axes, result, block)
            axes.set_title(short(block, 60), loc="left")
            axes.set_ylabel(_unit(result.cells(block)))
        handles, labels = grid[0][0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower left", ncols=6, frameon=False)
    return f"{result.title}. {result.model}, with 95% intervals. Grey: not in the paper."


def draw_line(
    axes: Axes,
    cells: Sequence[Row],
    columns: Sequence[str],
    colour: str,
    marker: str,
    label: str,
    style: str = "-",
) -> None:
    """Draw cells as a line over the columns, with the band of their intervals."""
    known = [c for c in cells if c["value"] is not None and str(c["column"]) in columns]
    known.sort(key=lambda cell: columns.index(str(cell["column"])))
    if not known:
        return
    places = [columns.index(str(cell["column"])) for cell in known]
    values = [cell["value"] for cell in known]
    axes.plot(places, values, color=colour, marker=marker, markersize=4, lw=1.4, ls=style,
              label=label)  # fmt: skip
    low, high = ([_end(cell, name) for cell in known] for name in ("low", "high"))
    axes.fill_between(places, low, high, color=colour, alpha=0.18, lw=0)
    axes.vlines(places, low, high, color=colour, lw=0.8)  # a single point has no band


def _groups(result: Reproduced, block: str) -> list[list[str]]:
    """Return the rows of each panel of a block: one each, those of controls last."""
    rows = result.names("row", block)
    rows += _controls(result, block)[: max(0, _MOST_PANELS - len(rows))]
    return [[row] for row in rows]


def _controls(result: Reproduced, block: str) -> list[str]:
    """Return the rows that the paper lacks and that can be drawn on the scale of those it has."""
    own, unit = result.names("row", block), _unit(result.cells(block, extra=False))
    return [
        row
        for row in result.names("row", block, extra=True)
        if row not in own and _unit(_row_of(result, block, row)) == unit
    ]


def _row_of(result: Reproduced, block: str, row: str) -> list[Row]:
    """Return the cells of a row: those of the paper's table, or of a control of this name."""
    own = [cell for cell in result.cells(block) if str(cell["row"]) == row]
    return [cell for cell in own if not cell.get("extra")] or own


def _lines_panel(axes: Axes, result: Reproduced, block: str, rows: Sequence[str]) -> None:
    columns = [name for name in result.names("column", block) if name != AVERAGE]
    alone, controls = bool(result.paper_cells(block)), _controls(result, block)
    for index, row in enumerate(rows):
        label = short(result.model if alone else row, 30)
        look = CYCLE[index % len(CYCLE)], MARKERS[index % len(MARKERS)], label
        if row in controls:
            look = COLOURS["random"], "_", "not in the paper" if alone else label
        own = _row_of(result, block, row)
        draw_line(axes, own, columns, *look, ":" if row in controls else "-")
    unit = _unit(result.cells(block, extra=False))
    for number, model in enumerate(result.paper_models):
        known = {c.column: result.paper_value(c, unit) for c in result.paper_cells(block, model)
                 if c.row in rows and c.column in columns}  # fmt: skip
        points = [(columns.index(name), v) for name, v in known.items() if v is not None]
        if points:
            places, values = zip(*points, strict=True)
            axes.plot(
                places, values, color=_PAPER, lw=0.8, ls="--", markersize=4,
                marker=PAPER_MARKERS[number % len(PAPER_MARKERS)], markerfacecolor="none",
                label=f"paper: {model}",
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), [short(name, 8) for name in columns])
    axes.set_xlim(-0.4, len(columns) - 0.6)
    axes.grid(axis="y", color="#e0e0e0", lw=0.6)


def _bars_panel(axes: Axes, result: Reproduced, block: str) -> None:
    cells = [cell for cell in result.cells(block) if cell["value"] is not None]
    groups = list(dict.fromkeys(str(cell["row"]) for cell in cells))
    own = result.names("column", block)
    added = [name for name in result.names("column", block, extra=True) if name not in own]
    names = [*own, *added]
    width = 0.8 / max(1, len(names))
    for index, name in enumerate(names):
        bars = [cell for cell in cells if str(cell["column"]) == name]
        places = [groups.index(str(cell["row"])) + (index - (len(names) - 1) / 2) * width
                  for cell in bars]  # fmt: skip
        values = [cell["value"] for cell in bars]
        around = [
            [max(0.0, cell["value"] - _end(cell, "low")) for cell in bars],
            [max(0.0, _end(cell, "high") - cell["value"]) for cell in bars],
        ]
        colour = COLOURS["random"] if name in added else CYCLE[index % len(CYCLE)]
        axes.bar(places, values, 0.92 * width, color=colour, label=short(name, 30), yerr=around,
                 error_kw={"elinewidth": 0.9, "capsize": 1.5})  # fmt: skip
    axes.axhline(0, color="#404040", lw=0.7)
    axes.set_xticks(range(len(groups)), [short(name, 30) for name in groups])
    axes.tick_params(axis="x", length=0)


def _end(cell: Row, name: str) -> float:
    end = cell.get(name)
    return cell["value"] if end is None else end


def _unit(cells: Sequence[Row]) -> str:
    return next((str(cell["unit"]) for cell in cells if cell.get("unit")), "")


def _share_y(line: Sequence[Axes]) -> None:
    drawn = [axes for axes in line if axes.lines]
    if not drawn:
        return
    low = min(axes.get_ylim()[0] for axes in drawn)
    high = max(axes.get_ylim()[1] for axes in drawn)
    for axes in line:
        axes.set_ylim(low, high)
