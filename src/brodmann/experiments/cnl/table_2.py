"""cnl-table-2: tune the located neurons, random ones, or all others with the located set to 0."""

from collections.abc import Mapping, Sequence

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import AVERAGE, Cell, Row, cell, find, only
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.enhanced import (
    LOCATED,
    PRESET_VALUES,
    RANDOM,
    REST,
    Enhanced,
    Trained,
    tests_of,
    trainings,
)
from brodmann.experiments.enhancing import (
    contrast_cell,
    paired,
    pooled_cell,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench

BASE, TOGETHER = "Base", "All blocks"

CLAIMS = {
    "over_random": "Tuning the located neurons gains more accuracy on their data set than tuning "
    "as many random ones (the paper: 0.341 against 0.225 on average, Llama2-7B, σ = 6, epoch 1).",
    "over_rest": "It gains more than setting them to 0 and tuning everything else (the paper: "
    "0.341 against 0.290).",
}


def run(config: Enhanced, bench: Workbench) -> Tables:
    """Tune every data set's neurons by every method, and measure what was trained on."""
    tests, notes = tests_of(config, bench)
    made = [
        one
        for one in trainings(
            config,
            bench,
            sigmas=config.sigmas,
            epochs=config.epochs,
            rates=tuple(config.rates),
        )
        if one.data in tests
    ]
    names = [name for name in config.data if name in tests]
    base = {name: bench.answers(tests[name]) for name in names}
    cells = [pooled_cell(BASE, BASE, name, [one], extra=True) for name, one in base.items()]
    blocks: dict[str, list[Trained]] = {}
    for one in made:
        blocks.setdefault(_block(one), []).append(one)
    for block, found in blocks.items():
        cells += _accuracies(block, found, names)
        cells += _contrasts(block, found, base)
    for rate in config.rates:
        wanted = [one for one in made if one.rate == rate]
        cells += _contrasts(TOGETHER + rate, wanted, base)
    return {"cells": cells, "notes": notes}


def _block(one: Trained) -> str:
    return f"σ={one.sigma:g}, epoch {one.epochs}{one.rate}"


def _accuracies(block: str, found: Sequence[Trained], names: Sequence[str]) -> list[Row]:
    cells = []
    for row in (RANDOM, REST, LOCATED):
        own = {one.data: one for one in found if one.row == row}
        every: list[Evaluation] = []
        for name in names:
            runs = own[name].answers.get(name, ())
            every += runs
            if runs:
                cells.append(pooled_cell(block, row, name, runs, **own[name].about))
            else:
                cells.append(cell(block, row, name, None, unit="accuracy", neurons=0))
        if all(own[name].answers for name in names):
            cells.append(pooled_cell(block, row, AVERAGE, every))
        else:
            cells.append(cell(block, row, AVERAGE, None, unit="accuracy", neurons=0))
    return cells


def _contrasts(block: str, found: Sequence[Trained], base: Mapping[str, Evaluation]) -> list[Row]:
    """Located minus each other method, over all data sets, examples and seeds."""
    by = {(_block(one), one.row, one.data): one for one in found}
    cells = []
    for row in (BASE, RANDOM, REST):
        pairs = [
            pair
            for (place, name, data), one in by.items()
            if name == LOCATED and one.answers
            for pair in paired(
                [base[data]] if row == BASE else by[place, row, data].answers[data],
                one.answers[data],
            )
        ]
        if pairs:
            cells.append(contrast_cell(block, f"{LOCATED} - {row}", AVERAGE, pairs, extra=True))
    return cells


def judge(tables: Mapping[str, Sequence[Cell]], config: Enhanced) -> list[Judged]:
    """Judge by the contrasts over all blocks of the first choice of rates."""
    cells = tables["cells"]
    first = next(iter(config.rates))
    judged = []
    for claim, other in (("over_random", RANDOM), ("over_rest", REST)):
        row = f"{LOCATED} - {other}"
        found = only(cells, block=TOGETHER + first, row=row, column=AVERAGE)
        told = above(claim, found, 0, f"Accuracy of {row}, over all data sets and epochs")
        raised = only(cells, block=TOGETHER + first, row=f"{LOCATED} - {BASE}", column=AVERAGE)
        compared = [one for name in (BASE, other, LOCATED) for one in find(cells, row=name)]
        compared = [one for one in compared if one["column"] != AVERAGE]
        judged.append(unless_tuning_shows_nothing(told, compared, raised))
    return judged


PRESETS = {name: Enhanced(**values) for name, values in PRESET_VALUES.items()}

EXPERIMENTS.add(
    "cnl-table-2",
    Experiment(
        id="cnl-table-2",
        title="Tuning the located neurons for several epochs",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
