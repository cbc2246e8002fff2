"""Curves: effect over growing parts of a set, and how sets settle with samples."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from brodmann.report.figure_style import COLOURS, CYCLE, MARKERS, panels, picture, short
from brodmann.report.results import RULES, Results, Row, variant_words

_EFFECTS = {"d_accuracy": "change of accuracy", "d_margin": "change of margin, nats"}


def draw_doses(results: Results, variant: str, path: Path) -> str:
    """Draw the effect on the own capability over the part erased; returns what it shows."""
    names = results.capabilities
    title = "Erasing growing parts of a set, strongest neurons first: effect on its own capability"
    if variant != "free":
        title += f" ({variant_words(variant)})"
    with picture(path, 1.4 + 2.3 * max(3, len(names)), 5.2, title) as figure:
        grid = panels(figure, len(_EFFECTS), len(names))
        for line, (effect, words) in zip(grid, _EFFECTS.items(), strict=True):
            for axes, name in zip(line, names, strict=True):
                rows = results.rows("dose", capability=name, variant=variant)
                _dose_panel(axes, rows, effect)
                axes.set_title(short(name), loc="left")
                axes.set_xlabel("part of the set, %")
            line[0].set_ylabel(words)
            _share_y(line)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False)
    return (
        f"{title}. Bars: 95% paired bootstrap intervals. Hollow: random sets with as many neurons "
        "in each layer, one mark per draw."
    )


def draw_convergence(results: Results, path: Path) -> str:
    """Draw how sets settle with the number of samples; returns what the picture shows."""
    title = "How the sets settle with the number of samples"
    with picture(path, 9.5, 3.9, title) as figure:
        line = panels(figure, 1, len(RULES))[0]
        for axes, rule in zip(line, RULES, strict=True):
            for index, name in enumerate(results.capabilities):
                rows = results.rows("convergence", capability=name, variant="free", rule=rule)
                known = [row for row in rows if row["cohesion"] is not None]
                axes.plot(
                    [row["samples"] for row in known],
                    [row["cohesion"] for row in known],
                    color=CYCLE[index % len(CYCLE)],
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=3.5,
                    lw=1.2,
                    label=short(name, 30),
                )
            axes.set_ylim(-0.02, 1.02)
            axes.set_title(f"{RULES[rule]} sets", loc="left")
            axes.set_xlabel("samples, both halves together")
            axes.grid(axis="y", color="#e0e0e0", lw=0.6)
        line[0].set_ylabel("cohesion of the two halves")
        line[-1].legend(frameon=False, loc="best")
    return f"{title}: |A∩B| / max(|A|,|B|) of the sets from the two halves of so many samples."


def _dose_panel(axes: Axes, rows: Sequence[Row], effect: str) -> None:
    axes.axhline(0, color="#404040", lw=0.8)
    for index, rule in enumerate(RULES):
        own = [row for row in rows if row["rule"] == rule]
        located = sorted(
            (row for row in own if row["kind"] == "located"), key=lambda row: row["fraction"]
        )
        drawn = [row for row in own if row["kind"] == "layer"]
        shift = 1.2 * (2 * index - 1)
        parts = [0.0, *(100 * row["fraction"] + shift for row in located)]
        effects = [0.0, *(row[effect] for row in located)]
        below = [0.0, *(row[effect] - row[f"{effect}_low"] for row in located)]
        above = [0.0, *(row[f"{effect}_high"] - row[effect] for row in located)]
        axes.errorbar(
            parts, effects, yerr=[_positive(below), _positive(above)], color=COLOURS[rule],
            marker=MARKERS[index], markersize=4, lw=1.3, elinewidth=0.9, capsize=2,
            label=f"{RULES[rule]} set",
        )  # fmt: skip
        axes.scatter(
            [100 * row["fraction"] + shift for row in drawn],
            [row[effect] for row in drawn],
            s=16, facecolors="none", edgecolors=COLOURS[rule], marker=MARKERS[index],
            linewidths=0.8, alpha=0.8, label=f"random, sized as the {RULES[rule]} set",
        )  # fmt: skip
    axes.set_xlim(-3, 106)
    axes.set_xticks([0, 25, 50, 75, 100])


def _positive(values: Sequence[float]) -> list[float]:
    return [max(0.0, value) for value in values]


def _share_y(line: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in line)
    high = max(axes.get_ylim()[1] for axes in line)
    room = 0.04 * (high - low)
    for axes in line:
        axes.set_ylim(low - room, high + room)
        axes.grid(axis="y", color="#e0e0e0", lw=0.6)
