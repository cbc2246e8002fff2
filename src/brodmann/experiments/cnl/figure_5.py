"""cnl-figure-5 and cnl-figure-7 (other models): tune or erase one data set's neurons, test on all.

Two matrices: a row is what the neurons were located on, a column what was tested. The trainings
are those of cnl-table-2, after the most epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from brodmann.evaluate import Evaluation, bootstrap_interval, random_sets
from brodmann.experiments.cells import Cell, Row, add_holm, cell, change_cell, find, only, units
from brodmann.experiments.claims import Judged, above, below, unless_at_floor
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.enhanced import (
    LOCATED,
    PRESET_VALUES,
    RANDOM,
    Enhanced,
    Trained,
    located_sets,
    tests_of,
    trainings,
)
from brodmann.experiments.enhancing import (
    contrast_cell,
    paired,
    pooled_cell,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.erasing import Erasure, beyond_random, erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

ENHANCE, ERASE, NEUTRAL, BASE = "Enhance", "Erase", "Neutral text", "Base"
ALL_ROWS, OWN_OTHER, OWN = "All", "own family - other families", "own family"

CLAIMS = {
    "tuned_own": "Tuning neurons located on a data set gains more, beyond random neurons, on data "
    "sets of its own family than on those of others (the paper: 22 points on Meta_Math by "
    "neurons of GSM8K, with little impact on other data sets).",
    "erased_own": "Erasing them loses more, beyond random neurons, on data sets of their own "
    "family than on those of others.",
}


@dataclass(frozen=True, kw_only=True)
class Matrices(Enhanced):
    """What to tune, erase and test; the first σ and the last number of epochs are used.

    Attributes:
        families: data set -> its family; a row compares its own with the others.
        draws: random sets beside each erased one.
    """

    families: Mapping[str, str]
    draws: int


@dataclass(frozen=True)
class _Effect:
    """What a row's neurons do to a column's data set beyond random ones, example by example."""

    row: str
    column: str
    values: Sequence[float]
    units: Sequence[str]


def run(config: Matrices, bench: Workbench) -> Tables:
    """Fill both matrices."""
    tests, notes = tests_of(config, bench)
    base = {name: bench.answers(test) for name, test in tests.items()}
    cells = [pooled_cell(BASE, BASE, name, [one], extra=True) for name, one in base.items()]
    made = list(
        trainings(
            config,
            bench,
            sigmas=config.sigmas[:1],
            epochs=config.epochs[-1:],
            rates=list(config.rates)[:1],
            rows=(RANDOM, LOCATED),
        )
    )
    found, effects = _enhanced(made, base)
    found += _own_gain(made, base, config.families)
    cells += found + _own_and_other(ENHANCE, config.families, effects)
    sets = located_sets(config, bench, config.sigmas[0])
    erasures = {
        (row, column): erase_and_compare(bench, neurons, test, draws=config.draws, seed=config.seed)
        for row, neurons in sets.items()
        if len(neurons)
        for column, test in tests.items()
    }
    found, effects = _erased(erasures, sets)
    cells += found + _own_and_other(ERASE, config.families, effects)
    cells += _missing(cells, sets, tests)
    cells += [one for row in sets for one in _neutral(config, bench, row, sets[row])]
    tuned = [
        pooled_cell(one.row, one.data, name, runs, **one.about)
        for one in made
        for name, runs in one.answers.items()
    ]
    return {"cells": cells, "accuracies": tuned, "notes": notes}


def _enhanced(
    made: Sequence[Trained], base: Mapping[str, Evaluation]
) -> tuple[list[Row], list[_Effect]]:
    by = {(one.row, one.data): one.answers for one in made}
    cells, effects = list[Row](), list[_Effect]()
    for (row, data), answers in by.items():
        name = data if row == LOCATED else f"{data} (random)"
        more = {} if row == LOCATED else {"extra": True}
        for column, runs in answers.items():
            cells.append(contrast_cell(ENHANCE, name, column, paired([base[column]], runs), **more))
            if row != LOCATED:
                continue
            pairs = paired(by[RANDOM, data][column], runs)
            values = [
                after - before
                for one, other in pairs
                for before, after in zip(
                    one.column("correct"), other.column("correct"), strict=True
                )
            ]
            effects.append(
                _Effect(data, column, values, [u for one, _ in pairs for u in units(one)])
            )
    _adjust(cells)
    return cells, effects


def _own_gain(
    made: Sequence[Trained], base: Mapping[str, Evaluation], families: Mapping[str, str]
) -> list[Row]:
    """What tuning located neurons changes on data sets of the own family, over all rows."""
    pairs = [
        pair
        for one in made
        if one.row == LOCATED
        for column, runs in one.answers.items()
        if families[column] == families[one.data]
        for pair in paired([base[column]], runs)
    ]
    return [contrast_cell(ENHANCE, ALL_ROWS, OWN, pairs, extra=True)] if pairs else []


def _erased(
    erasures: Mapping[tuple[str, str], Erasure], sets: Mapping[str, NeuronSet]
) -> tuple[list[Row], list[_Effect]]:
    cells, effects = list[Row](), list[_Effect]()
    for (row, column), one in erasures.items():
        standing = one.standing()
        about = {"neurons": len(sets[row]), "draws": standing.draws, "rank": standing.rank}
        pairs = [(one.base, one.located)]
        cells.append(contrast_cell(ERASE, row, column, pairs, **about))
        beyond = beyond_random([one])
        if beyond is None:
            continue
        changes = one.random_changes()
        mean = sum(changes) / len(changes)
        told = {"draws": len(changes), "worst": min(changes), "extra": True}
        name = f"{row} (random)"
        cells.append(cell(ERASE, name, column, mean, unit="change", n=one.base.n, **told))
        name = f"{row} - random"
        cells.append(change_cell(ERASE, name, column, beyond, draws=len(changes), extra=True))
        both = zip(one.random_mean(), one.located.column("correct"), strict=True)
        effects.append(_Effect(row, column, [b - a for a, b in both], units(one.base)))
    _adjust(cells)
    return cells, effects


def _adjust(cells: Sequence[Row]) -> None:
    """Holm's p over the matrix, without our own rows."""
    add_holm([one for one in cells if not one.get("extra")])


def _own_and_other(
    block: str, families: Mapping[str, str], effects: Sequence[_Effect]
) -> list[Row]:
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


def _difference_cell(block: str, row: str, own: Sequence[_Effect], other: Sequence[_Effect]) -> Row:
    """Return the difference of two means; an example of both is drawn for both together."""
    values = [value for one in own for value in one.values]
    others = [value for one in other for value in one.values]
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


def _missing(
    cells: Sequence[Cell], sets: Mapping[str, NeuronSet], columns: Mapping[str, object]
) -> list[Row]:
    """The cells of rows without neurons."""
    return [
        cell(block, row, column, None, unit="change", neurons=len(sets[row]))
        for block in (ENHANCE, ERASE)
        for row in sets
        for column in columns
        if only(cells, block=block, row=row, column=column) is None
    ]


def _neutral(config: Matrices, bench: Workbench, row: str, neurons: NeuronSet) -> list[Row]:
    """What erasing does to the reading of neutral text: KL to the model as it is, nats."""
    if not len(neurons):
        return []
    drawn = [
        bench.neutral(one)["kl"] for one in random_sets(neurons, config.draws, seed=config.seed)
    ]
    told = {"worst_random": max(drawn, default=None), "draws": len(drawn), "extra": True}
    kl = bench.neutral(neurons)["kl"]
    return [cell(NEUTRAL, row, "KL", kl, unit="nats", neurons=len(neurons), **told)]


def judge(tables: Mapping[str, Sequence[Cell]], config: Matrices) -> list[Judged]:
    """Judge by own family minus other families, over all rows."""
    cells = tables["cells"]
    because = "Change of accuracy beyond random neurons, own family minus others"
    found = {
        block: only(cells, block=block, row=ALL_ROWS, column=OWN_OTHER)
        for block in (ENHANCE, ERASE)
    }
    base = find(cells, block=BASE)
    return [
        unless_tuning_shows_nothing(
            above("tuned_own", found[ENHANCE], 0, because),
            [*base, *tables["accuracies"]],
            only(cells, block=ENHANCE, row=ALL_ROWS, column=OWN),
        ),
        unless_at_floor(below("erased_own", found[ERASE], 0, because), base),
    ]


FAMILIES = {
    "GSM8K": "math",
    "Meta_Math": "math",
    "Emotion": "language",
    "GoEmotions": "language",
    "Imdb": "language",
    "TweetEval": "language",
    "Code25K": "program",
    "CodeXGLUE": "program",
}
_DRAWS = {"smoke": 1, "cpu": 3, "paper": 20}
PRESETS = {
    name: Matrices(families=FAMILIES, draws=_DRAWS[name], **values)
    for name, values in PRESET_VALUES.items()
}

for _id, _models in (
    ("cnl-figure-5", data_sets.MODELS),
    ("cnl-figure-7", data_sets.MODELS | {"cpu": ("gemma3-270m",)}),
):
    EXPERIMENTS.add(
        _id,
        Experiment(
            id=_id,
            title="Tuning and erasing one data set's neurons, tested on all",
            claims=CLAIMS,
            run=run,
            judge=judge,
            presets=PRESETS,
            models=_models,
            needs="data sets",
        ),
    )
