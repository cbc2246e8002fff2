"""How a located set settles with the number of samples (cnl.txt Fig. 6): rows and a picture."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from brodmann.neurons import NeuronScores, Rule, RuleCannotFireWarning, convergence
from brodmann.report.figure_style import _STYLE, COLOURS, CYCLE, MARKERS, panels
from brodmann.storage import write_json

ROWS_FILE, PICTURE_FILE = "convergence.json", "convergence.svg"

_OVERLAPS = {
    "overlap_of_halves": "of its two halves",
    "overlap_with_final": "with the final set",
}


def write_convergence(folder: Path, scores: NeuronScores, rule: Rule) -> list[dict[str, Any]]:
    """Write ``convergence.json`` and draw ``convergence.svg`` into a folder that exists.

    Args:
        folder: of a located set; other files in it are left alone.
        scores: scores with blocks of samples.
        rule: from scores to the set.

    Returns:
        The rows of :func:`brodmann.neurons.convergence`, as written: None where an overlap is of
        empty sets; with ``overlap_by_chance``, that of two random sets, one of this row's size and
        one of the last row's.

    Raises:
        InputError: when the scores have no blocks of samples.
    """
    with warnings.catch_warnings():
        # Who selects the set is told of a rule that cannot fire; not again for every part.
        warnings.simplefilter("ignore", RuleCannotFireWarning)
        found = convergence(scores, rule)
    final, total = found[-1]["neurons"], int(scores.real.sum())
    rows = []
    for row in found:
        known = {name: _known(cell) for name, cell in row.items()}
        chance = (row["neurons"] + final) / (2 * total)
        known["overlap_by_chance"] = None if known["overlap_with_final"] is None else chance
        rows.append(known)
    write_json(folder / ROWS_FILE, rows)
    draw_settling(rows, folder / PICTURE_FILE)
    return rows


def draw_settling(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the overlaps, and the size of the set where it changes, over the number of samples.

    Args:
        rows: as :func:`write_convergence` gives.
        path: the SVG file.
    """
    sizes = {row["neurons"] for row in rows}
    columns = 1 if len(sizes) == 1 else 2
    title = "How the set settles with the number of samples"
    if columns == 1:
        title += f" ({rows[-1]['neurons']:,} neurons)"
    # The salt makes the names inside the file, and with them its bytes, the same each time.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": "brodmann"}):
        figure = Figure(figsize=(5.2 * columns, 3.7), layout="constrained")
        figure.suptitle(title, ha="left", x=0.01)
        line = panels(figure, 1, columns)[0]
        _draw_overlaps(line[0], rows)
        if columns == 2:
            _draw_sizes(line[1], rows)
        for axes in line:
            axes.set_xlim(0, 1.04 * rows[-1]["samples"])
            axes.set_xlabel("samples")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", color="#e0e0e0", lw=0.6)
        handles, labels = line[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _draw_overlaps(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for index, (name, label) in enumerate(_OVERLAPS.items()):
        _curve(axes, rows, name, color=CYCLE[index], marker=MARKERS[index], label=label)
    _curve(
        axes, rows, "overlap_by_chance", color=COLOURS["random"], marker="_", ls=":",
        label="random sets (chance)",
    )  # fmt: skip
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("overlap")
    if not axes.lines:
        axes.text(0.5, 0.5, "no neurons, no overlap", ha="center", transform=axes.transAxes)


def _draw_sizes(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    _curve(axes, rows, "neurons", color=CYCLE[0], marker=MARKERS[0])
    axes.set_ylim(0, 1.06 * max(row["neurons"] for row in rows))
    axes.set_ylabel("neurons selected")


def _curve(axes: Axes, rows: Sequence[dict[str, Any]], name: str, **look: Any) -> None:
    known = [row for row in rows if row[name] is not None]
    if not known:
        return
    axes.plot(
        [row["samples"] for row in known], [row[name] for row in known],
        markersize=3.5, lw=1.2, **look,
    )  # fmt: skip


def _known(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell
