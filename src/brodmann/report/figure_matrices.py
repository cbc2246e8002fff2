"""Matrices with legible numbers: how alike sets are, and what erasing each does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from brodmann.report.figure_style import ink, panels, picture, short
from brodmann.report.results import RULES, Results, Row, variant_words
from brodmann.report.tables import erased_sets, number

MEASURES = {"d_accuracy": "accuracy", "d_margin": "margin, nats"}


def draw_overlaps(results: Results, path: Path) -> str:
    """Draw the overlap of halves: cohesion on the diagonal; returns what the picture shows."""
    names, variants = results.capabilities, results.variants
    title = "Overlap |A∩B| / max(|A|,|B|) of sets from two samples"
    size = max(2.6, 0.85 * len(names) + 0.9)
    with picture(path, 0.7 + 2 * (size + 0.5), 0.6 + len(variants) * (size + 0.3), title) as figure:
        grid = panels(figure, len(variants), len(RULES))
        for line, variant in zip(grid, variants, strict=True):
            for axes, rule in zip(line, RULES, strict=True):
                rows = results.rows("similarity", variant=variant, rule=rule)
                _overlap_panel(axes, rows, names)
                axes.set_title(f"{RULES[rule]}, {variant_words(variant)}", loc="left")
    return (
        f"{title}: one sample in rows, the other in columns. The diagonal is cohesion (high is "
        "good), the rest what capabilities share (low is good). Small: layer-matched chance."
    )


def draw_erasure(results: Results, variant: str, path: Path) -> str:
    """Draw erased set × tested capability with the random sets; returns what it shows."""
    names = results.capabilities
    title = "Change when a set is erased: sets in rows, tested capabilities in columns"
    if variant != "free":
        title += f" ({variant_words(variant)})"
    width, height = 1.2 + 2 * (1.0 * (len(names) + 1) + 0.9), 1.0 + 2 * (0.62 * len(names) + 0.9)
    with picture(path, width, height, title) as figure:
        grid = panels(figure, len(RULES), len(MEASURES))
        for line, rule in zip(grid, RULES, strict=True):
            for axes, (effect, words) in zip(line, MEASURES.items(), strict=True):
                sets = [one for one in erased_sets(results, variant) if one[1] == rule]
                _erasure_panel(axes, results, sets, effect)
                axes.set_title(f"{RULES[rule]} sets: change of {words}", loc="left")
    return (
        f"{title}; 95% paired bootstrap intervals in brackets. Outlined: the set's own capability. "
        "Last column: layer-matched random sets of equal size on the own capability, mean and "
        "(worst)."
    )


def _overlap_panel(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    values = np.full((len(names), len(names)), np.nan)
    for row in rows:
        if row["kind"] not in ("cohesion", "across") or row["value"] is None:
            continue
        place = names.index(row["a"]), names.index(row["b"])
        values[place] = row["value"]
        axes.text(place[1], place[0] - 0.1, number(row["value"]), ha="center", va="center",
                  color=ink(row["value"]), fontsize=11)  # fmt: skip
        chance = f"chance {number(row['chance_layer_matched'], 3)}"
        axes.text(place[1], place[0] + 0.28, chance, ha="center", va="center",
                  color=ink(row["value"]), fontsize=7.5)  # fmt: skip
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    _label(axes, [short(name) for name in names], [short(name) for name in names])
    axes.set_xlabel("located on the second half")
    axes.set_ylabel("located on the first half")


def _erasure_panel(
    axes: Axes, results: Results, sets: Sequence[tuple[str, str, str]], effect: str
) -> None:
    names = results.capabilities
    values = np.full((len(sets), len(names) + 1), np.nan)
    rows = [[results.row("erasure", set=name, tested=t) for t in names] for name, _, _ in sets]
    own = [results.row("erasure", set=name, own=True) for name, _, _ in sets]
    for place, line in enumerate(rows):
        for column, row in enumerate(line):
            if row is not None:
                values[place, column] = row[effect]
        control = own[place]
        if control is not None and control.get("random_draws"):
            values[place, -1] = control[f"random_{effect}"]
    limit = 1.0 if effect == "d_accuracy" else float(np.nanmax(np.abs(values), initial=1e-6))
    scale = Normalize(-limit, limit)
    axes.imshow(values, cmap="PuOr", norm=scale, aspect="auto")
    for place, line in enumerate(rows):
        for column, row in enumerate(line):
            if row is not None:
                around = f"[{number(row[f'{effect}_low'], signed=True)}, "
                around += f"{number(row[f'{effect}_high'], signed=True)}]"
                _cell(axes, place, column, row[effect], around, limit)
                if row["own"]:
                    box = Rectangle((column - 0.48, place - 0.47), 0.96, 0.94, fill=False, lw=1.8)
                    axes.add_patch(box)
        control = own[place]
        if control is not None and control.get("random_draws"):
            worst = f"({number(control[f'random_{effect}_worst'], signed=True)})"
            _cell(axes, place, len(names), control[f"random_{effect}"], worst, limit)
    draws = max((row["random_draws"] for row in own if row and row.get("random_draws")), default=0)
    axes.axvline(len(names) - 0.5, color="white", lw=4)
    _label(axes, [*(short(name) for name in names), f"random ({draws})"],
           [short(capability) for _, _, capability in sets])  # fmt: skip
    axes.set_xlabel("tested on")
    axes.set_ylabel("erased")


def _cell(axes: Axes, row: int, column: int, value: float, around: str, limit: float) -> None:
    colour = ink(abs(value) / limit)
    axes.text(column, row - 0.15, number(value, signed=True), ha="center", va="center",
              color=colour, fontsize=10.5)  # fmt: skip
    axes.text(column, row + 0.24, around, ha="center", va="center", color=colour, fontsize=7)


def _label(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
