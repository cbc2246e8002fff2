"""DCSN Table 8: NeFT's neurons beside DCSN's, by cohesion and separability.

NeFT takes the neurons that a full fine-tune has turned most, so every operator, task and half of
the data needs a fine-tune of its own, all from the same model. Both methods get sets of the same
size: as many of NeFT's as DCSN selects from that half. The paper says neither how long NeFT's
fine-tune is nor how sizes compare. Preset cpu takes a few steps only: what a fine-tune turns first.

Intervals are over operators (or pairs of them) and tasks, which are few and, for pairs, not
independent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from brodmann.evaluate import bootstrap_interval, paired_difference
from brodmann.experiments.cells import OPERATORS, Cell, Row, cell, change_cell, only
from brodmann.experiments.claims import Judged, above, below
from brodmann.experiments.dcsn.operator_sets import (
    CPU,
    PAPER,
    SMOKE,
    TASKS,
    Locating,
    operator_sets,
    spec_of,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.workbench import Workbench
from brodmann.localize.neft import neft
from brodmann.neurons import NeuronSet, layer_matched_chance, max_ratio

COHESION, SEPARABILITY = "Cohesion", "Separability"
NEFT, DCSN, GAP = "NeFT", "DCSN", "DCSN - NeFT"
ALL = "All"

Halves = Mapping[str, tuple[NeuronSet, NeuronSet]]
"""Operator -> the sets of its two samples."""


@dataclass(frozen=True, kw_only=True)
class Table8Config:
    """Everything that decides the table, besides the model.

    Attributes:
        locating: on what, and how, DCSN's sets are located; NeFT is tuned on the same samples.
        tasks: which blocks; preset smoke has the first only, for each takes eight fine-tunes.
        lr: of the full fine-tunes.
        steps: of each.
        batch_size: examples of a step.
    """

    locating: Locating
    tasks: tuple[str, ...] = tuple(TASKS)
    lr: float
    steps: int
    batch_size: int


def run(config: Table8Config, bench: Workbench) -> Tables:
    """Locate by both methods, and compare the sets of each."""
    rows: list[Row] = []
    for view in config.tasks:
        located = operator_sets(bench, config.locating, view)["raw"]
        ours = {one.capability: one.halves for one in located}
        theirs = {name: _neft_halves(bench, config, view, name, ours[name]) for name in ours}
        rows += [{"task": view, "method": DCSN, **row} for row in likeness_rows(ours)]
        rows += [{"task": view, "method": NEFT, **row} for row in likeness_rows(theirs)]
    return {"cells": table_cells(rows), "pairs": rows}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table8Config) -> list[Judged]:
    """Judge by the differences over all tasks."""
    cohesion, separability = (
        only(tables["cells"], block=ALL, row=GAP, column=column)
        for column in (COHESION, SEPARABILITY)
    )
    return [
        above("cohesion", cohesion, 0.0, "Cohesion of DCSN's sets less that of NeFT's"),
        below("separability", separability, 0.0, "Separability of DCSN's sets less NeFT's"),
    ]


def likeness_rows(halves: Halves) -> list[Row]:
    """Compare the two sets of each operator, and those of two operators on the same half."""
    rows = [_row(COHESION, name, name, *pair) for name, pair in halves.items()]
    for a, b in combinations(halves, 2):
        rows += [_row(SEPARABILITY, a, b, halves[a][half], halves[b][half]) for half in (0, 1)]
    return rows


def table_cells(rows: Sequence[Row]) -> list[Row]:
    """Average over operators, or pairs of them: by task, and over tasks."""
    cells: list[Row] = []
    for block in (*dict.fromkeys(row["task"] for row in rows), ALL):
        extra = {"extra": True} if block == ALL else {}
        of_block = [row for row in rows if block in (row["task"], ALL)]
        for column in (COHESION, SEPARABILITY):
            found = {
                method: [r for r in of_block if (r["method"], r["kind"]) == (method, column)]
                for method in (NEFT, DCSN)
            }
            for method, own in found.items():
                cells.append(_mean_cell((block, method, column), own, extra))
            cells.append(_gap_cell((block, GAP, column), found[NEFT], found[DCSN]))
    return cells


def _neft_halves(
    bench: Workbench,
    config: Table8Config,
    view: str,
    operator: str,
    ours: tuple[NeuronSet, NeuronSet],
) -> tuple[NeuronSet, NeuronSet]:
    locating = config.locating
    (way,) = locating.ways(view)
    first, second = (
        _turned_most(
            bench,
            Training(
                method="full",
                sample=Sample(
                    spec_of(operator, locating.options, *way, half=half),
                    "train",
                    locating.examples,
                    locating.seed,
                ),
                neurons=None,
                lr=config.lr,
                steps=config.steps,
                batch_size=config.batch_size,
                seed=locating.seed,
            ),
            len(own),
        )
        for half, own in zip(("1/2", "2/2"), ours, strict=True)
    )
    return first, second


def _turned_most(bench: Workbench, training: Training, count: int) -> NeuronSet:
    """Return so many neurons that a full fine-tune has turned most; the tuned copy is let go."""

    def make() -> list[list[int]]:
        say(f"{bench.name}: full fine-tune for NeFT on {training.sample.spec}")
        tuned = bench.trained_copy(training)
        return [list(pair) for pair in neft(bench.model, tuned.hf).top(count)]

    key = {"neft": training.to_dict(), "train": bench.digest(training.sample), "count": count}
    pairs = [(layer, neuron) for layer, neuron in bench.piece(key, make)] if count else []
    model = bench.model
    about = {"model": model.name, "fingerprint": model.fingerprint, "method": "neft"}
    shape = model.n_layers, model.n_neurons
    return NeuronSet.from_pairs(pairs, *shape, real=model.real, provenance=about)


def _row(kind: str, a: str, b: str, first: NeuronSet, second: NeuronSet) -> Row:
    value = max_ratio(first, second)
    chance = layer_matched_chance(first, second).max_ratio
    return {
        "kind": kind,
        "a": OPERATORS[a],
        "b": OPERATORS[b],
        "value": None if math.isnan(value) else value,
        "chance_layer_matched": None if math.isnan(chance) else chance,
        "neurons": len(first),
        "neurons_b": len(second),
    }


def _mean_cell(place: tuple[str, str, str], rows: Sequence[Row], extra: Mapping[str, bool]) -> Row:
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return {**cell(*place, None, unit="share", neurons=0), **extra}
    values, pairs = [row["value"] for row in known], _pairs_of(known)
    low, high = bootstrap_interval(values, groups=pairs)
    chances = [row["chance_layer_matched"] for row in known]
    told = {
        "chance_layer_matched": sum(chances) / len(chances),
        "neurons": sum(row["neurons"] for row in known) / len(known),
    }
    mean = sum(values) / len(values)
    n = len(set(pairs))
    found = cell(*place, mean, low=low, high=high, unit="share", n=n, **told)
    return {**found, **extra}


def _pairs_of(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Name the operators that each row compares: their two halves say nothing new of them."""
    return [(row["task"], row["a"], row["b"]) for row in rows]


def _gap_cell(place: tuple[str, str, str], theirs: Sequence[Row], ours: Sequence[Row]) -> Row:
    """Sets of both methods have the same sizes, so that the same rows are known."""
    known = [
        (one, other)
        for one, other in zip(theirs, ours, strict=True)
        if one["value"] is not None and other["value"] is not None
    ]
    if not known:
        return cell(*place, None, unit="change", extra=True)
    change = paired_difference(
        [one["value"] for one, _ in known],
        [other["value"] for _, other in known],
        groups=_pairs_of([one for one, _ in known]),
    )
    return change_cell(*place, change, extra=True) | {"p": None}


CLAIMS = {
    "cohesion": "Two samples of one operator give DCSN sets that are more alike than the sets that "
    "NeFT gets from them, at equal sizes (the paper: 94% against 71 to 73%).",
    "separability": "Two operators' DCSN sets are less alike than their NeFT sets, at equal sizes "
    "(the paper: 4 to 5% against 33 to 36%).",
}

PRESETS = {
    "smoke": Table8Config(locating=SMOKE, tasks=("DG",), lr=1e-3, steps=2, batch_size=4),
    "cpu": Table8Config(locating=CPU, lr=1e-5, steps=5, batch_size=4),
    "paper": Table8Config(locating=PAPER, lr=1e-5, steps=150, batch_size=8),
}

EXPERIMENTS.add(
    "dcsn-table-8",
    Experiment(
        id="dcsn-table-8",
        title="Cohesion and separability of NeFT's neurons and DCSN's",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models={
            "smoke": ("tiny-random",),
            "cpu": ("smollm2-135m",),
            "paper": ("meta-llama/Llama-2-7b-hf",),
        },
    ),
)
