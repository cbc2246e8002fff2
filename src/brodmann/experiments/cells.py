"""Cells: one number of a table or figure each, with its interval, as a plain row.

A cell says where it stands (``block``, ``row``, ``column``: the paper's words where the paper has
it), what was measured (``value``, ``low``, ``high``, ``unit``, ``n``) and whatever belongs to it.
Shares, rates and accuracies are fractions. ``extra`` marks what the paper does not have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from brodmann.evaluate import Difference, Evaluation, bootstrap_interval, holm

Cell = Mapping[str, Any]
Row = dict[str, Any]

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
"""How the papers write what our specs call by name."""

AVERAGE = "Avg."


def cell(
    block: str,
    row: str,
    column: str,
    value: int | float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str,
    n: int | None = None,
    **more: Any,
) -> Row:
    """Return one number as a row."""
    place = {"block": block, "row": row, "column": column}
    return place | {"value": value, "low": low, "high": high, "unit": unit, "n": n} | more


def accuracy_cell(block: str, row: str, column: str, found: Evaluation, **more: Any) -> Row:
    """Return an accuracy with its Wilson interval, and the margin (nats) beside it.

    So stands macro-F1 where all examples share one list of labels.
    """
    if found.macro_f1 is not None:
        more = {"macro_f1": found.macro_f1} | more
    return cell(
        block,
        row,
        column,
        found.accuracy,
        low=found.interval[0],
        high=found.interval[1],
        unit="accuracy",
        n=found.n_independent,
        chance=found.chance,
        majority=found.majority,
        margin=found.margin,
        margin_low=found.margin_interval[0],
        margin_high=found.margin_interval[1],
        format_rate=found.format_rate,
        **more,
    )


def average_cell(block: str, row: str, found: Sequence[Evaluation], **more: Any) -> Row:
    """Return the mean accuracy of several evaluations with its bootstrap interval.

    Each evaluation weighs the same. Examples of one expression are drawn together.
    """
    low, high = bootstrap_interval(
        [value for one in found for value in one.column("correct")],
        groups=[unit for one in found for unit in units(one)],
        parts=[number for number, one in enumerate(found) for _ in one.rows],
    )
    mean = sum(one.accuracy for one in found) / len(found)
    margin = sum(one.margin for one in found) / len(found)
    n = sum(one.n_independent for one in found)
    about = {"chance": sum(one.chance for one in found) / len(found), "margin": margin}
    return cell(
        block, row, AVERAGE, mean, low=low, high=high, unit="accuracy", n=n, **about, **more
    )


def change_cell(
    block: str, row: str, column: str, change: Difference, unit: str = "change", **more: Any
) -> Row:
    """Return a paired difference with its interval."""
    low, high = change.interval
    return cell(
        block,
        row,
        column,
        change.mean,
        low=low,
        high=high,
        unit=unit,
        n=change.units,
        p=change.p,
        **more,
    )


def add_holm(cells: Sequence[Row], key: str = "p") -> None:
    """Put Holm's adjusted p (``p_holm``) into the cells that have a p, over all of them."""
    tested = [one for one in cells if one.get(key) is not None]
    for one, adjusted in zip(tested, holm([one[key] for one in tested]), strict=True):
        one[f"{key}_holm"] = adjusted


def units(found: Evaluation) -> list[str]:
    """Name what each example of an evaluation counts as: its expression, or its prompt."""
    return [str(row.get("expression", row["prompt"])) for row in found.rows]


def find(cells: Sequence[Cell], **wanted: Any) -> list[Cell]:
    """Return the cells whose entries are as given."""
    return [one for one in cells if all(one.get(key) == value for key, value in wanted.items())]


def only(cells: Sequence[Cell], **wanted: Any) -> Cell | None:
    """Return the first such cell, or None."""
    return next(iter(find(cells, **wanted)), None)
