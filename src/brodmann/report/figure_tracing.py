"""Causal traces: token × layer, darker where restoring brings the answer back."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from brodmann.evaluate.traces import ROLES, AveragedTraces
from brodmann.localize.trace import Trace
from brodmann.report.figure_style import CYCLE, MARKERS, panels, picture, short

WORDS = {
    "residual": "residual stream, one layer",
    "mlp": "MLP output{window}",
    "attention": "attention output{window}",
}
_LINES = ("last subject token", "last token")


def draw_trace(trace: Trace, path: Path, *, svg: bool = False) -> str:
    """Draw one fact's trace, a panel for each kind; returns what the picture shows.

    Args:
        trace: of the fact.
        path: the PNG to write.
        svg: an SVG, too.
    """
    window = trace.provenance.get("rule", {}).get("window")
    labels = [_token(text) for text in trace.tokens]
    rows = [
        f"{label}*" if trace.subject[0] <= place < trace.subject[1] else label
        for place, label in enumerate(labels)
    ]
    grids = {kind: values.numpy() for kind, values in trace.effects.items()}
    title = f"What brings back “{_token(trace.answer)}”: {short(trace.fact, 40)}"
    _draw_grids(grids, rows, title, path, window, svg=svg)
    return (
        f"P(“{_token(trace.answer)}”) with one state restored, minus P with noise on the subject "
        f"(*): {trace.clean:.3f} clean, {trace.corrupted:.3f} with noise."
    )


def draw_averaged(
    averaged: AveragedTraces, path: Path, *, window: int | None = None, svg: bool = False
) -> str:
    """Draw averaged traces, and two of their rows with intervals; returns what it shows.

    Args:
        averaged: over facts.
        path: the PNG to write.
        window: how many layers' outputs were restored together, for the words.
        svg: an SVG, too.
    """
    present = [place for place in range(len(ROLES)) if averaged.counts[place]]
    rows = [f"{ROLES[place]} ({int(averaged.counts[place])})" for place in present]
    grids = {kind: found.mean[present].numpy() for kind, found in averaged.effects.items()}
    title = f"What brings the answer back: mean over {averaged.n_facts} facts"
    _draw_grids(grids, rows, title, path, window, svg=svg, averaged=averaged)
    return (
        f"{title}, by what a token is to the subject (in brackets: facts with such a token). P of "
        f"the answer is {averaged.clean:.3f} clean and {averaged.corrupted:.3f} with noise. "
        f"Below: two rows with {averaged.confidence:.0%} bootstrap intervals over facts."
    )


def _draw_grids(
    grids: dict[str, np.ndarray],
    rows: list[str],
    title: str,
    path: Path,
    window: int | None,
    *,
    svg: bool,
    averaged: AveragedTraces | None = None,
) -> None:
    height = 1.1 + 0.21 * len(rows) + (2.4 if averaged else 0)
    longest = max(len(row) for row in rows)
    limit = max(float(np.nanmax(np.abs(grid))) for grid in grids.values()) or 1e-9
    with picture(path, 0.6 + 0.07 * longest + 3.3 * len(grids), height, title, svg=svg) as figure:
        parts = [figure]
        if averaged is not None:
            heights = [0.21 * len(rows) + 0.9, 2.4]
            halves = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
            parts = halves[:, 0].tolist()
        line = panels(parts[0], 1, len(grids))[0]
        for place, (axes, (kind, grid)) in enumerate(zip(line, grids.items(), strict=True)):
            image = axes.imshow(grid, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
            axes.set_yticks(range(len(rows)), rows if place == 0 else [])
            _style(axes, kind, window)
        parts[0].colorbar(image, ax=line, pad=0.01, fraction=0.03).set_label("effect on P(answer)")
        if averaged is not None:
            _draw_lines(parts[1], averaged)


def _draw_lines(figure: FigureBase, averaged: AveragedTraces) -> None:
    line = figure.subplots(1, len(averaged.effects), squeeze=False, sharey=True)[0]
    for axes, found in zip(line, averaged.effects.values(), strict=True):
        layers = range(found.mean.shape[1])
        for number, role in enumerate(_LINES):
            place = ROLES.index(role)
            colour = CYCLE[number]
            axes.plot(layers, found.mean[place], color=colour, marker=MARKERS[number], ms=3,
                      lw=1.2, label=role)  # fmt: skip
            axes.fill_between(layers, found.low[place], found.high[place], color=colour,
                              alpha=0.2, lw=0)  # fmt: skip
        axes.axhline(0, color="#8a8a8a", lw=0.6)
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    line[0].set_ylabel("effect on P(answer)")
    line[0].legend(frameon=False, fontsize=8)


def _style(axes: Axes, kind: str, window: int | None) -> None:
    layers = "" if window is None else f", {window} layers"
    axes.set_title(WORDS[kind].format(window=layers), loc="left")
    axes.set_xlabel("layer restored" if kind == "residual" else "middle of the layers restored")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)


def _token(text: str) -> str:
    """A token that can be read: its space is seen, its newline does not break the line."""
    return short(text.replace("\n", "\\n").strip() or "␣", 24)
