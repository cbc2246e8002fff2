"""Is a data set changed more by its own family's neurons than by those of other families?

By accuracy: the mean change on data sets of the own family less that on others. By margin, whose
scale differs from data set to data set (a label's answer, a page of code): how often an example
is changed more by a set of its own family.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from brodmann.evaluate import bootstrap_interval
from brodmann.experiments.cells import Row, cell

ALL_ROWS, OWN_OTHER, OWN_MORE = "All", "own family - other families", "own family's more"


@dataclass(frozen=True)
class Effect:
    """What a row's neurons do to a column's data set beyond random ones, example by example.

    Attributes:
        row: the data set that the neurons were located on.
        column: the data set that was answered.
        correct: the change of accuracy of each example.
        margin: the change of its margin, nats.
        units: what each example counts as.
    """

    row: str
    column: str
    correct: Sequence[float]
    margin: Sequence[float]
    units: Sequence[str]


def accuracy_cells(block: str, families: Mapping[str, str], effects: Sequence[Effect]) -> list[Row]:
    """Compare a row's own family with the others, for each row and over all."""
    rows = dict.fromkeys(one.row for one in effects)
    cells = []
    for row in (*rows, ALL_ROWS):
        wanted = [one for one in effects if row in (one.row, ALL_ROWS)]
        own = [one for one in wanted if families[one.row] == families[one.column]]
        other = [one for one in wanted if families[one.row] != families[one.column]]
        if own and other:
            cells.append(_difference_cell(block, row, own, other))
    return cells


def _difference_cell(block: str, row: str, own: Sequence[Effect], other: Sequence[Effect]) -> Row:
    """Return the difference of two means; an example of both is drawn for both together."""
    values = [value for one in own for value in one.correct]
    others = [value for one in other for value in one.correct]
    groups = [unit for one in (*own, *other) for unit in one.units]
    half = bootstrap_interval(
        [*values, *(-value for value in others)],
        groups=groups,
        parts=[True] * len(values) + [False] * len(others),
    )  # of the mean of own and minus other: half their difference
    a, b = fmean(values), fmean(others)
    told = {"unit": "change", "own": a, "other": b, "extra": True}
    n = len(set(groups))
    return cell(block, row, OWN_OTHER, a - b, low=2 * half[0], high=2 * half[1], n=n, **told)


def margin_cells(
    block: str, families: Mapping[str, str], effects: Sequence[Effect], *, sign: int
) -> list[Row]:
    """Return how often an example's margin is changed more by a set of its own family.

    For two families f and g: the share of (example of f, set of f, set of g) in which the set of
    f changes the margin more, averaged with the same share for examples of g. A set that changes
    everything more than others wins in its own family and loses as often in the other: 0.5 is no
    difference, whatever the strengths of the sets and the scales of the margins. Intervals are
    over examples; the sets stay as they are.

    Args:
        block: where the cells stand.
        families: data set -> its family.
        effects: of each set on each data set.
        sign: 1 where more means a gain, -1 where it means harm.

    Returns:
        A cell for each pair of families, and the mean over all pairs.
    """
    names = dict.fromkeys(families[one.row] for one in effects)
    shares = {}
    for f, g in itertools.combinations(names, 2):
        both = _shares(families, effects, (f, g), sign), _shares(families, effects, (g, f), sign)
        if all(both):
            shares[f"{f}, {g}"] = both
    cells = [_share_cell(block, row, both) for row, both in shares.items()]
    if shares:
        cells.append(
            _share_cell(block, ALL_ROWS, [one for both in shares.values() for one in both])
        )
    return cells


_Shares = Sequence[tuple[float, str]]
"""For each example, the share of comparisons that its own family's sets win, and its unit."""


def _shares(
    families: Mapping[str, str], effects: Sequence[Effect], pair: tuple[str, str], sign: int
) -> _Shares:
    """Compare the sets of two families on the data sets of the first."""
    found: list[tuple[float, str]] = []
    for column in dict.fromkeys(one.column for one in effects if families[one.column] == pair[0]):
        own, other = (
            [one for one in effects if one.column == column and families[one.row] == family]
            for family in pair
        )
        if not own or not other:
            continue
        for number, unit in enumerate(own[0].units):
            wins = [
                0.5 + 0.5 * _order(sign * a.margin[number], sign * b.margin[number])
                for a, b in itertools.product(own, other)
            ]
            found.append((fmean(wins), f"{column}: {unit}"))
    return found


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _share_cell(block: str, row: str, parts: Sequence[_Shares]) -> Row:
    """Return the mean over parts of their mean shares."""
    flat = [(value, unit, number) for number, part in enumerate(parts) for value, unit in part]
    values, groups, of = zip(*flat, strict=True)
    low, high = bootstrap_interval(values, groups=groups, parts=of)
    value = fmean(fmean(value for value, _ in part) for part in parts)
    n = len(set(groups))
    return cell(block, row, OWN_MORE, value, low=low, high=high, unit="share", n=n, extra=True)
