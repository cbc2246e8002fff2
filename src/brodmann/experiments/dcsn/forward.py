"""DCSN Table 4, forward: how much of each operator's set composed expressions activate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.evaluate import bootstrap_interval
from brodmann.experiments.cells import AVERAGE, OPERATORS, Row, cell
from brodmann.experiments.dcsn.activation_ratio import activation_rows
from brodmann.experiments.dcsn.operator_sets import (
    RULES,
    VIEWS,
    Locating,
    operator_sets,
    spec_of,
)
from brodmann.experiments.map_sets import rule_of
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench

COLUMNS = {f"{n}-OP": f"{n}op" for n in (2, 3, 4, 5)}
OWN_OTHERS, OWN_RANDOM = "own - others", "own - random"
ALL = "All"


@dataclass(frozen=True)
class Ratio:
    """What one example activates of some sets.

    Attributes:
        unit: its expression.
        own: mean share over its operators' sets.
        others: over the other operators' sets; None where there are none.
        random: over random sets matched to its operators' per layer.
        activated: how many neurons it activates.
    """

    unit: str
    own: float
    others: float | None
    random: float
    activated: int


def forward_cells(bench: Workbench, locating: Locating, items: int) -> list[Row]:
    """Measure the activation ratios of all rows and columns."""
    rule = rule_of("raw", locating.rules())
    sets = {view: operator_sets(bench, locating, view) for view in VIEWS}
    named = {
        view: {
            f"{view}/{kind}/{one.capability}": one.neurons
            for kind, found in sets[view].items()
            for one in found
        }
        for view in VIEWS
    }
    rows: list[Row] = []
    for way in dict.fromkeys(way for view in VIEWS for way in locating.ways(view)):
        views = [view for view in VIEWS if way in locating.ways(view)]
        wanted = {name: one for view in views for name, one in named[view].items()}
        for column, part in COLUMNS.items():
            sample = Sample(spec_of(part, locating.options, *way), "test", items, locating.seed)
            rows += [
                {"column": column, "task": way[0], "lang": way[1], **row}
                for row in activation_rows(bench, sample, wanted, rule)
            ]
    cells = []
    for suffix, kind in RULES.items():
        ratios = {
            (view, column): _ratios(rows, locating, (view, kind), column)
            for view in VIEWS
            for column in COLUMNS
        }
        cells += _cells(ratios, suffix)
    return cells


def _ratios(
    rows: Sequence[Row], locating: Locating, place: tuple[str, str], column: str
) -> list[Ratio]:
    """The ratios of the examples of one view and column; sets without neurons are left out."""
    view, rule = place
    ways = locating.ways(view)
    found = []
    for row in rows:
        if row["column"] != column or (row["task"], row["lang"]) not in ways:
            continue
        names = {name: f"{view}/{rule}/{name}" for name in OPERATORS}
        known = {name: key for name, key in names.items() if row["share"][key] is not None}
        own = [key for name, key in known.items() if name in row["operators"]]
        others = [key for name, key in known.items() if name not in row["operators"]]
        if own:
            other = _mean([row["share"][key] for key in others]) if others else None
            shares = [row["share"][key] for key in own]
            random = [row["random"][key] for key in own]
            unit = f"{column} {row['expression']}"
            found.append(Ratio(unit, _mean(shares), other, _mean(random), row["activated"]))
    return found


def _cells(ratios: Mapping[tuple[str, str], Sequence[Ratio]], suffix: str) -> list[Row]:
    mark = {"extra": True} if suffix else {}
    cells = []
    for view in (*VIEWS, ALL):
        of_view = {
            column: [r for v in VIEWS if view in (v, ALL) for r in ratios[v, column]]
            for column in COLUMNS
        }
        every = [one for found in of_view.values() for one in found]
        told = mark if view != ALL else {"extra": True}
        for column, found in {**of_view, AVERAGE: every}.items():
            cells.append(_ratio_cell((f"Forward{suffix}", view, column), found, told))
        block = f"Forward, contrasts{suffix}"
        others = [(one.own - one.others, one) for one in every if one.others is not None]
        random = [(one.own - one.random, one) for one in every]
        cells.append(_contrast_cell((block, view, OWN_OTHERS), others))
        cells.append(_contrast_cell((block, view, OWN_RANDOM), random))
    return cells


def _ratio_cell(
    place: tuple[str, str, str], found: Sequence[Ratio], mark: Mapping[str, Any]
) -> Row:
    if not found:
        return cell(*place, None, unit="share", neurons=0, **mark)
    units = [one.unit for one in found]
    low, high = bootstrap_interval([one.own for one in found], groups=units)
    others = [one.others for one in found if one.others is not None]
    told = {
        **mark,
        "others": _mean(others) if others else None,
        "chance": _mean([one.random for one in found]),
        "activated": _mean([one.activated for one in found]),
    }
    value, n = _mean([one.own for one in found]), len(set(units))
    return cell(*place, value, low=low, high=high, unit="share", n=n, **told)


def _contrast_cell(place: tuple[str, str, str], found: Sequence[tuple[float, Ratio]]) -> Row:
    if not found:
        return cell(*place, None, unit="change", extra=True)
    units = [one.unit for _, one in found]
    values = [value for value, _ in found]
    low, high = bootstrap_interval(values, groups=units)
    n = len(set(units))
    return cell(*place, _mean(values), low=low, high=high, unit="change", n=n, extra=True)


def _mean(values: Sequence[int | float]) -> float:
    return sum(values) / len(values)
