"""Edits at every layer, and the layers that tracing finds for the edited facts."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from brodmann.report.figure_style import COLOURS, CYCLE, MARKERS, panels, picture
from brodmann.report.reproduced_curves import draw_line
from brodmann.report.reproduced_results import Reproduced

_TRACED, _MARK, _INK = "facts traced to it", "v", "#202020"
_PANELS = ("Success", "Margins", "Effect of tracing")


def draw_edits(result: Reproduced, path: Path) -> str:
    """Draw success, margins and the effect of tracing over layers; returns what it shows."""
    title = f"{result.place}: {result.title}"
    traced = {
        int(str(cell["column"])): int(cell["value"])
        for cell in result.cells(_PANELS[2])
        if cell["row"] == _TRACED and cell["value"]
    }
    with picture(path, 9.5, 3.6, title, svg=True) as figure:
        grid = panels(figure, 1, len(_PANELS))[0]
        for axes, block in zip(grid, _PANELS, strict=True):
            _panel(axes, result, block)
            _mark(axes, traced)
        handles, labels = grid[0].get_legend_handles_labels()
        handles.append(Line2D([], [], ls="", marker=_MARK, color=_INK, markersize=6))
        labels.append("traced layer of a fact (of so many facts)")
        figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False)
    return (
        f"{result.title}. Lines with bands: {result.model}, 95% intervals over facts. Triangles: "
        "the layers that tracing finds for the facts, with the number of facts."
    )


def _panel(axes: Axes, result: Reproduced, block: str) -> None:
    cells = [cell for cell in result.cells(block) if cell["row"] != _TRACED]
    layers = [str(layer) for layer in range(1 + max((int(c["column"]) for c in cells), default=0))]
    for index, row in enumerate(dict.fromkeys(str(cell["row"]) for cell in cells)):
        own = [cell for cell in cells if cell["row"] == row]
        colour = CYCLE[index] if block != _PANELS[2] else COLOURS["random"]
        draw_line(axes, own, layers, colour, MARKERS[index], row)
    axes.set_title(f"{block} ({cells[0]['unit']})" if cells else block, loc="left", pad=16)
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.grid(axis="y", color="#e0e0e0", lw=0.6)


def _mark(axes: Axes, traced: dict[int, int]) -> None:
    """Mark layers above the axes, whatever their scale."""
    across = axes.get_xaxis_transform()
    for layer, n_facts in traced.items():
        axes.axvline(layer, color=_INK, lw=0.6, ls=":", zorder=0)
        axes.plot([layer], [1.0], _MARK, color=_INK, transform=across, clip_on=False)
        if n_facts > 1:
            axes.annotate(f"{n_facts}", (layer, 1.0), xycoords=across, xytext=(0, 4),
                          textcoords="offset points", ha="center", fontsize=7)  # fmt: skip
