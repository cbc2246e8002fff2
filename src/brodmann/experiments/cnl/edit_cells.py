"""The cells of cnl-figure-2: edits at every layer, and what the traced layer has over the others.

Means are over facts, and intervals over relations: two facts of one relation are asked alike.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from scipy.stats import spearmanr

from brodmann.evaluate import bootstrap_interval
from brodmann.experiments.cells import Row, cell

Value = TypeVar("Value")

SUCCESS, MARGINS, TRACED = "Success", "Margins", "Traced layer"
KINDS = ("efficacy", "paraphrase", "neighbourhood")
AT, ELSEWHERE, DIFFERENCE, RANKS = (
    "traced",
    "other layers",
    "traced - other layers",
    "rank agreement",
)


def edit_cells(rows: Sequence[Mapping[str, Any]], layers: Sequence[int]) -> list[Row]:
    """Return all cells that follow from the edits; intervals are over relations, ``n`` of them.

    Args:
        rows: the table ``edits``.
        layers: those of the figure.
    """
    return [*_by_layer(rows, layers), *_traced(rows)]


def _by_layer(rows: Sequence[Mapping[str, Any]], layers: Sequence[int]) -> list[Row]:
    """The figure: success and margins at every layer, over facts."""
    cells = []
    for layer in layers:
        found = [row for row in rows if row["layer"] == layer]
        for kind in KINDS:
            share = _column(found, kind)
            cells.append(_mean_cell(SUCCESS, kind, f"{layer}", share, "share"))
            margins = _column(found, f"{kind}_margin")
            cells.append(_mean_cell(MARGINS, kind, f"{layer}", margins, "nats", extra=True))
        effect = _column(found, "effect")
        cells.append(
            _mean_cell("Effect of tracing", "MLP", f"{layer}", effect, "probability", extra=True)
        )
    traced = Counter(row["layer"] for row in rows if row["traced"])
    for layer in sorted({*layers, *traced}):
        cells.append(cell("Effect of tracing", "facts traced to it", f"{layer}", traced[layer],
                          unit="examples", extra=True))  # fmt: skip
    return cells


def _traced(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What the traced layer has over the others, fact by fact."""
    cells = []
    for kind in KINDS:
        margin = f"{kind} margin", f"{kind}_margin", "nats", "nats"
        for column, key, unit, signed in ((kind, kind, "share", "change"), margin):
            pairs = _of_facts(rows, traced_and_others(rows, key))
            values = {
                AT: ([(of, a) for of, (a, _) in pairs], unit),
                ELSEWHERE: ([(of, b) for of, (_, b) in pairs], unit),
                DIFFERENCE: ([(of, a - b) for of, (a, b) in pairs], signed),
            }
            cells += [
                _mean_cell(TRACED, name, column, found, its_unit, extra=True)
                for name, (found, its_unit) in values.items()
            ]
        agree = _of_facts(rows, rank_agreements(rows, f"{kind}_margin"))
        cells.append(_mean_cell(TRACED, RANKS, f"{kind} margin", agree, "correlation", extra=True))
    return cells


def traced_and_others(
    rows: Sequence[Mapping[str, Any]], key: str
) -> dict[str, tuple[float, float]]:
    """Return for each fact a score at its traced layer, and its mean over the other layers."""
    found = {}
    for fact in dict.fromkeys(row["fact"] for row in rows):
        own = [row for row in rows if row["fact"] == fact and row[key] is not None]
        at = [row[key] for row in own if row["traced"]]
        others = [row[key] for row in own if not row["traced"]]
        if at and others:
            found[fact] = (at[0], sum(others) / len(others))
    return found


def rank_agreements(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Return for each fact Spearman's correlation, over layers, of effect of tracing and score."""
    found = {}
    for fact in dict.fromkeys(row["fact"] for row in rows):
        own = [row for row in rows if row["fact"] == fact and row[key] is not None]
        effects, scores = ([row[name] for row in own] for name in ("effect", key))
        if len(set(effects)) > 1 and len(set(scores)) > 1:
            found[fact] = float(spearmanr(effects, scores).statistic)
    return found


def _of_facts(
    rows: Sequence[Mapping[str, Any]], found: Mapping[str, Value]
) -> list[tuple[str, Value]]:
    """Put each fact's relation beside its value."""
    relation = {row["fact"]: row["relation"] for row in rows}
    return [(relation[fact], value) for fact, value in found.items()]


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[str, float]]:
    return [(row["relation"], row[key]) for row in rows if row[key] is not None]


def _mean_cell(
    block: str, row: str, column: str, values: Sequence[tuple[str, float]], unit: str, **more: Any
) -> Row:
    """The mean over facts, each with its relation; two facts of one go together."""
    known = [(of, value) for of, value in values if math.isfinite(value)]
    if not known:
        return cell(block, row, column, None, unit=unit, **more)
    groups, numbers = zip(*known, strict=True)
    n = len(set(groups))
    low, high = bootstrap_interval(numbers, groups=groups) if n > 1 else (None, None)
    return cell(block, row, column, sum(numbers) / len(numbers), low=low, high=high, unit=unit,
                n=n, facts=len(numbers), **more)  # fmt: skip
