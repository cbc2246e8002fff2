"""cnl-table-5: what tuning changes on the data sets that a model was not trained on.

The paper does not say after how many epochs; ours is after the most, and the others stand beside.
The trainings are those of cnl-table-2.
"""

from collections.abc import Mapping, Sequence

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import Cell, Row, cell, only
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
    Pairs,
    contrast_cell,
    paired,
    pooled_cell,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench

BLOCK, TOGETHER, BASE = "Other datasets", "all σ", "Base"
COLUMNS = {RANDOM: "random", REST: "w/o located", LOCATED: "located"}
OVER_RANDOM, OVER_REST = "located - random", "located - w/o located"

CLAIMS = {
    "gains": "Tuning the located neurons gains accuracy on data sets that were not trained on "
    "(the paper: 9.4 to 17.7 points).",
    "over_random": "It gains more there than tuning random neurons (the paper: 11.2 against 3.2 "
    "points, Llama2-7B, σ = 6).",
    "over_rest": "It gains more there than setting them to 0 and tuning everything else (the "
    "paper: 11.2 against -3.3 points).",
}


def run(config: Enhanced, bench: Workbench) -> Tables:
    """Compare every model with the model as it is, on what it was not trained on."""
    tests, notes = tests_of(config, bench)
    base = {name: bench.answers(test) for name, test in tests.items()}
    cells, last = list[Row](), config.epochs[-1]
    decisive: list[Trained] = []
    for sigma in config.sigmas:
        for rate in config.rates:
            for epochs in config.epochs:
                found = list(
                    trainings(config, bench, sigmas=[sigma], epochs=[epochs], rates=[rate])
                )
                is_main = epochs == last and not rate
                row = f"σ={sigma:g}" + ("" if is_main else f", epoch {epochs}{rate}")
                cells += _changes(row, found, base, {} if is_main else {"extra": True})
                decisive += found if is_main else []
    cells += _changes(TOGETHER, decisive, base, {"extra": True})
    accuracies = [
        cell("Accuracy", one.row, name, run.accuracy, low=run.interval[0], high=run.interval[1],
             unit="accuracy", n=run.n_independent, chance=run.chance, trained_on=one.data,
             sigma=one.sigma, extra=True)
        for one in decisive
        for name, runs in one.answers.items()
        if name != one.data
        for run in runs
    ]  # fmt: skip
    accuracies += [
        pooled_cell("Accuracy", BASE, name, [one], extra=True) for name, one in base.items()
    ]
    return {"cells": cells, "accuracies": accuracies, "notes": notes}


def _changes(
    row: str, found: Sequence[Trained], base: Mapping[str, Evaluation], more: Row
) -> list[Row]:
    cells = []
    for name, column in COLUMNS.items():
        pairs = [
            pair
            for one in found
            if one.row == name
            for data, runs in one.answers.items()
            if data != one.data
            for pair in paired([base[data]], runs)
        ]
        cells.append(
            contrast_cell(BLOCK, row, column, pairs, **more)
            if pairs
            else cell(BLOCK, row, column, None, unit="change", neurons=0, **more)
        )
    for column, other in ((OVER_RANDOM, RANDOM), (OVER_REST, REST)):
        pairs = _against(found, other)
        if pairs:
            cells.append(contrast_cell(BLOCK, row, column, pairs, **{**more, "extra": True}))
    return cells


def _against(found: Sequence[Trained], other: str) -> Pairs:
    by = {(one.sigma, one.row, one.data): one for one in found}
    return [
        pair
        for (sigma, row, trained), one in by.items()
        if row == LOCATED
        for data, runs in one.answers.items()
        if data != trained
        for pair in paired(by[sigma, other, trained].answers[data], runs)
    ]


def judge(tables: Mapping[str, Sequence[Cell]], config: Enhanced) -> list[Judged]:
    """Judge by the changes over all σ, data sets, examples and seeds."""
    judged = []
    raised = only(tables["cells"], block=BLOCK, row=TOGETHER, column=COLUMNS[LOCATED])
    for claim, column in (
        ("gains", COLUMNS[LOCATED]),
        ("over_random", OVER_RANDOM),
        ("over_rest", OVER_REST),
    ):
        found = only(tables["cells"], block=BLOCK, row=TOGETHER, column=column)
        told = above(claim, found, 0, f"Change of accuracy on other data sets, {column}")
        judged.append(unless_tuning_shows_nothing(told, tables["accuracies"], raised))
    return judged


PRESETS = {name: Enhanced(**values) for name, values in PRESET_VALUES.items()}

EXPERIMENTS.add(
    "cnl-table-5",
    Experiment(
        id="cnl-table-5",
        title="What tuning changes on other data sets",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
