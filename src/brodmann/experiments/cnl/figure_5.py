"""cnl-figure-5 and cnl-figure-7 (other models): tune or erase one data set's neurons, test on all.

Two matrices: a row is what the neurons were located on, a column what was tested. The trainings
are those of cnl-table-2, after the most epochs. Where a model solves too little for accuracies to
change, margins say whose neurons matter; the paper does not compare them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brodmann.evaluate import Evaluation, random_sets
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
from brodmann.experiments.cnl.own_family import (
    ALL_ROWS,
    OWN_MORE,
    OWN_OTHER,
    Effect,
    accuracy_cells,
    margin_cells,
)
from brodmann.experiments.enhancing import (
    Pairs,
    contrast_cell,
    margin_beside,
    paired,
    pooled_cell,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.erasing import Erasure, beyond_random, erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

ENHANCE, ERASE, NEUTRAL, BASE = "Enhance", "Erase", "Neutral text", "Base"
OWN = "own family"
MEASURES = ("correct", "margin")

CLAIMS = {
    "tuned_own": "Tuning neurons located on a data set gains more, beyond random neurons, on data "
    "sets of its own family than on those of others (the paper: 22 points on Meta_Math by "
    "neurons of GSM8K, with little impact on other data sets).",
    "erased_own": "Erasing them loses more, beyond random neurons, on data sets of their own "
    "family than on those of others.",
    "tuned_own_margin": "Tuning neurons of its own family raises an example's margin, beyond "
    "random neurons, more than tuning those of another does, in most comparisons (ours).",
    "erased_own_margin": "Erasing neurons of its own family lowers it, beyond random neurons, more "
    "than erasing those of another does, in most comparisons (ours).",
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
    cells += found + accuracy_cells(ENHANCE, config.families, effects)
    cells += margin_cells(ENHANCE, config.families, effects, sign=1)
    sets = located_sets(config, bench, config.sigmas[0])
    erasures = {
        (row, column): erase_and_compare(bench, neurons, test, draws=config.draws, seed=config.seed)
        for row, neurons in sets.items()
        if len(neurons)
        for column, test in tests.items()
    }
    found, effects = _erased(erasures, sets)
    cells += found + accuracy_cells(ERASE, config.families, effects)
    cells += margin_cells(ERASE, config.families, effects, sign=-1)
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
) -> tuple[list[Row], list[Effect]]:
    by = {(one.row, one.data): one.answers for one in made}
    cells, effects = list[Row](), list[Effect]()
    for (row, data), answers in by.items():
        name = data if row == LOCATED else f"{data} (random)"
        more = {} if row == LOCATED else {"extra": True}
        for column, runs in answers.items():
            cells.append(contrast_cell(ENHANCE, name, column, paired([base[column]], runs), **more))
            if row != LOCATED:
                continue
            pairs = paired(by[RANDOM, data][column], runs)
            beyond = f"{data} - random"
            cells.append(contrast_cell(ENHANCE, beyond, column, pairs, extra=True))
            correct, margin = (_changes(pairs, measure) for measure in MEASURES)
            names = [unit for one, _ in pairs for unit in units(one)]
            effects.append(Effect(data, column, correct, margin, names))
    _adjust(cells)
    return cells, effects


def _changes(pairs: Pairs, measure: str) -> list[float]:
    return [
        after - before
        for one, other in pairs
        for before, after in zip(one.column(measure), other.column(measure), strict=True)
    ]


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
) -> tuple[list[Row], list[Effect]]:
    cells, effects = list[Row](), list[Effect]()
    for (row, column), one in erasures.items():
        standing = one.standing()
        about = {"neurons": len(sets[row]), "draws": standing.draws, "rank": standing.rank}
        pairs = [(one.base, one.located)]
        cells.append(contrast_cell(ERASE, row, column, pairs, **about))
        beyond, in_margin = (beyond_random([one], measure) for measure in MEASURES)
        if beyond is None or in_margin is None:
            continue
        changes = one.random_changes()
        mean = sum(changes) / len(changes)
        told = {"draws": len(changes), "worst": min(changes), "extra": True}
        name = f"{row} (random)"
        cells.append(cell(ERASE, name, column, mean, unit="change", n=one.base.n, **told))
        name = f"{row} - random"
        told = margin_beside(in_margin) | {"draws": len(changes), "extra": True}
        cells.append(change_cell(ERASE, name, column, beyond, **told))
        correct, margin = (_beyond(one, measure) for measure in MEASURES)
        effects.append(Effect(row, column, correct, margin, units(one.base)))
    _adjust(cells)
    return cells, effects


def _beyond(erased: Erasure, measure: str) -> list[float]:
    """What the located set changes beyond the mean of random ones, for each example."""
    both = zip(erased.random_mean(measure), erased.located.column(measure), strict=True)
    return [located - random for random, located in both]


def _adjust(cells: Sequence[Row]) -> None:
    """Holm's p over the matrix, without our own rows."""
    add_holm([one for one in cells if not one.get("extra")])


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
    worst = None if None in drawn else max(drawn, default=None)
    told = {"worst_random": worst, "draws": len(drawn), "extra": True}
    kl = bench.neutral(neurons)["kl"]
    return [cell(NEUTRAL, row, "KL", kl, unit="nats", neurons=len(neurons), **told)]


def judge(tables: Mapping[str, Sequence[Cell]], config: Matrices) -> list[Judged]:
    """Judge by own family minus other families, and by whose sets change margins more."""
    cells = tables["cells"]
    because = "Change of accuracy beyond random neurons, own family minus others"
    share = "Share of comparisons that sets of the own family win, by margin beyond random neurons"
    found, margins = (
        {block: only(cells, block=block, row=ALL_ROWS, column=column) for block in (ENHANCE, ERASE)}
        for column in (OWN_OTHER, OWN_MORE)
    )
    base = find(cells, block=BASE)
    return [
        unless_tuning_shows_nothing(
            above("tuned_own", found[ENHANCE], 0, because),
            [*base, *tables["accuracies"]],
            only(cells, block=ENHANCE, row=ALL_ROWS, column=OWN),
        ),
        unless_at_floor(below("erased_own", found[ERASE], 0, because), base),
        above("tuned_own_margin", margins[ENHANCE], 0.5, share),
        above("erased_own_margin", margins[ERASE], 0.5, share),
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
