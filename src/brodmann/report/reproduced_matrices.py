"""Figures of the papers that are matrices, and the map of located neurons."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from brodmann.report.figure_style import ink, panels, picture, short
from brodmann.report.reproduced_results import Reproduced
from brodmann.report.reproduced_tables import SIGNED, digits_for
from brodmann.report.results import Row
from brodmann.report.tables import number

_COLUMNS = 2


def draw_matrices(result: Reproduced, path: Path) -> str:
    """Draw a matrix for each block, numbers in its squares; returns what the picture shows."""
    blocks = [block for block in result.blocks if result.cells(block, extra=False)]
    shapes = [(len(result.names("row", b)), len(result.names("column", b))) for b in blocks]
    across = min(_COLUMNS, max(1, len(blocks)))
    down = max(1, -(-len(blocks) // across))
    width = 1.6 + across * (1.1 + 0.98 * max((shape[1] for shape in shapes), default=1))
    height = 1.1 + down * (1.0 + 0.66 * max((shape[0] for shape in shapes), default=1))
    title = f"{result.place}: {result.title}"
    with picture(path, width, height, title, svg=True) as figure:
        flat = [axes for line in panels(figure, down, across) for axes in line]
        for axes, block in zip(flat, blocks, strict=False):
            _matrix(axes, result, block)
            axes.set_title(short(block, 40), loc="left")
        for axes in flat[len(blocks) :]:
            axes.axis("off")
    return (
        f"{result.title}. {result.model}; 95% intervals in brackets, the paper's numbers below "
        "them where it prints any. Outlined: rows and columns of one name."
    )


def draw_map(result: Reproduced, path: Path) -> str:
    """Draw layer × neuron for each dataset, as rows of the table ``neurons`` say."""
    rows = result.tables.get("neurons", ())
    names = list(dict.fromkeys(str(row["data"]) for row in rows))
    down = max(1, -(-len(names) // _COLUMNS))
    title = f"{result.place}: {result.title}"
    with picture(path, 10.5, 0.7 + 2.8 * down, title, svg=True) as figure:
        flat = [axes for line in panels(figure, down, _COLUMNS) for axes in line]
        together = int(result.run["config"]["neighbours"])
        layers = 1 + max((row["layer"] for row in rows), default=0)
        width = 1 + max((row["neuron"] for row in rows), default=0)
        for axes, name in zip(flat, names, strict=False):
            own = [row for row in rows if str(row["data"]) == name]
            image = _neurons(axes, own, layers, width, together)
            axes.set_title(short(name, 40), loc="left")
            figure.colorbar(image, ax=axes, pad=0.01, fraction=0.04, ticks=MaxNLocator(4))
        for axes in flat[len(names) :]:
            axes.axis("off")
    return (
        f"{result.title}. {result.model}: the largest absolute value among {together} "
        "neighbouring neurons; darker is larger, scaled within each panel."
    )


def _matrix(axes: Axes, result: Reproduced, block: str) -> None:
    rows, columns = result.names("row", block), result.names("column", block)
    cells = result.cells(block, extra=False)
    values = np.full((len(rows), len(columns)), np.nan)
    for cell in cells:
        place = rows.index(str(cell["row"])), columns.index(str(cell["column"]))
        values[place] = np.nan if cell["value"] is None else cell["value"]
    limit = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    axes.imshow(values, cmap="PuOr", norm=Normalize(-limit, limit), aspect="auto")
    for cell in cells:
        place = rows.index(str(cell["row"])), columns.index(str(cell["column"]))
        _square(axes, result, cell, place, ink(abs(cell["value"] or 0) / limit))
        if columns[place[1]] in (rows[place[0]], _inside(rows[place[0]])):
            box = Rectangle((place[1] - 0.48, place[0] - 0.47), 0.96, 0.94, fill=False, lw=1.8)
            axes.add_patch(box)
    axes.set_xticks(range(len(columns)), [short(name, 14) for name in columns])
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _square(axes: Axes, result: Reproduced, cell: Row, place: tuple[int, int], colour: str) -> None:
    unit, value = str(cell.get("unit", "")), cell["value"]
    signed = unit in SIGNED
    digits = digits_for(value, cell.get("low"), cell.get("high"))
    below = []
    if cell.get("low") is not None and cell.get("high") is not None:
        ends = [number(cell[end], digits, signed=signed) for end in ("low", "high")]
        below.append(f"[{', '.join(ends)}]")
    theirs = [
        number(known, digits_for(known), signed=signed)
        for one in result.paper_cells(str(cell["block"]))
        if (one.row, one.column) == (str(cell["row"]), str(cell["column"]))
        and (known := result.paper_value(one, unit)) is not None
    ]
    if theirs:
        below.append(f"paper {', '.join(theirs)}")
    row, column = place
    axes.text(column, row - 0.2, number(value, digits, signed=signed), ha="center",
              va="center", color=colour, fontsize=10)  # fmt: skip
    axes.text(column, row + 0.2, "\n".join(below), ha="center", va="center", color=colour,
              fontsize=6.5)  # fmt: skip


def _inside(row: str) -> str:
    """Return what stands in brackets: "+" of "1-OP (+)"."""
    return row.partition("(")[2].rstrip(")")


def _neurons(axes: Axes, rows: Sequence[Row], layers: int, width: int, together: int) -> AxesImage:
    """Draw the strongest of so many neighbouring neurons together."""
    found = np.zeros((layers, -(-width // together)))
    for row in rows:
        place = row["layer"], row["neuron"] // together
        found[place] = max(found[place], abs(row["value"]))
    image = axes.imshow(
        found,
        cmap="Greys",
        norm=PowerNorm(0.4, vmin=0, vmax=float(found.max()) or 1.0),
        extent=(0, found.shape[1] * together, -0.5, layers - 0.5),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_xlim(0, width)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("neuron")
    axes.set_ylabel("layer")
    return image
