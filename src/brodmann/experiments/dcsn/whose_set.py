"""Whose set does the harm: the own one, the inverse operator's, another's, or any?"""

from collections.abc import Callable, Mapping, Sequence

from brodmann.evaluate import Difference, Evaluation, paired_difference
from brodmann.experiments.cells import OPERATORS, Row, cell, change_cell, units
from brodmann.experiments.enhancing import margin_beside
from brodmann.experiments.erasing import Erasure, beyond_random, standing_of_mean

INVERSE = {"add": "sub", "sub": "add", "mul": "div", "div": "mul"}
INVERSE_OTHERS, OWN_OTHERS, OWN_RANDOM = "inverse - other pair", "own - others", "own - random"
OWN_BY_NORM = f"{OWN_RANDOM}, by norm"
ALL = "All"

Matrix = Mapping[tuple[str, str], Erasure]
"""(Erased, tested) -> answers; operators whose set is empty are not erased."""


def contrast_cells(erasures: Matrix, block: str) -> list[Row]:
    """Compare sets by what they do to the same answers: the inverse operator's, and the own."""
    comparisons: dict[str, Callable[[str], tuple[list[str], list[str]]]] = {
        INVERSE_OTHERS: lambda name: (
            [other for other in OPERATORS if other not in (name, INVERSE[name])],
            [INVERSE[name]],
        ),
        OWN_OTHERS: lambda name: ([other for other in OPERATORS if other != name], [name]),
    }
    cells = []
    for column, sides in comparisons.items():
        for tested in ([name] for name in OPERATORS):
            row = f"1-OP ({OPERATORS[tested[0]]})"
            cells.append(_compared(erasures, tested, sides, (block, row, column)))
        cells.append(_compared(erasures, list(OPERATORS), sides, (block, ALL, column)))
    own = [erasures[name, name] for name in OPERATORS if (name, name) in erasures]
    drawn = {OWN_RANDOM: own}
    if any(one.by_norm for one in own):
        drawn[OWN_BY_NORM] = [one.beside_norm for one in own]
    for column, found in drawn.items():
        change, margin = beyond_random(found), beyond_random(found, "margin")
        cells.append(_difference_cell((block, ALL, column), change, margin))
        if change is not None:
            place = standing_of_mean(found)
            cells[-1] |= {"rank": place.rank, "draws": place.draws}
    return cells


def _compared(
    erasures: Matrix,
    tested: Sequence[str],
    sides: Callable[[str], tuple[list[str], list[str]]],
    place: tuple[str, str, str],
) -> Row:
    """The mean of some sets' answers, example by example, beside that of others'."""
    wanted = [(before, after, name) for name in tested for before, after in [sides(name)]]
    if any((one, name) not in erasures for b, a, name in wanted for one in (*b, *a)):
        return _difference_cell(place, None, None)
    found = []
    for measure in ("correct", "margin"):
        columns = [
            [v for *both, name in wanted for v in _mean(erasures, both[side], name, measure)]
            for side in (0, 1)
        ]
        groups = [u for b, _, name in wanted for u in units(erasures[b[0], name].base)]
        found.append(paired_difference(*columns, groups=groups))
    return _difference_cell(place, *found)


def _mean(erasures: Matrix, erased: Sequence[str], tested: str, measure: str) -> list[float]:
    answers: list[Evaluation] = [erasures[one, tested].located for one in erased]
    columns = [one.column(measure) for one in answers]
    return [sum(values) / len(values) for values in zip(*columns, strict=True)]


def _difference_cell(
    place: tuple[str, str, str], change: Difference | None, margin: Difference | None
) -> Row:
    if change is None or margin is None:
        return cell(*place, None, unit="change", extra=True)
    return change_cell(*place, change, extra=True, **margin_beside(margin))
