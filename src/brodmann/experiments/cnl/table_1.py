"""cnl-table-1: do two disjoint halves of a data set give the same neurons, and whose are they?

The paper compares the halves of one data set with each other. That says nothing of a capability
while other data sets are not compared in the same way: neurons that any text needs agree, too. So
the halves of different data sets stand beside them, and what decides is within − across.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from brodmann.experiments.cells import AVERAGE, Cell, Row, cell, find
from brodmann.experiments.claims import Judged
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.agreement import agreement_cell, known, mean_of, measured
from brodmann.experiments.cnl.everywhere import above_everywhere
from brodmann.experiments.cnl.halves import LocateConfig, Located, locate_halves, located_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.map_resample import shifted_interval
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import overlap

BLOCK, ACROSS = "Overlap", "First half x second half"
DIFFERENCE = "within - across"

CLAIMS = {
    "overlap": "In every data set, the neurons located on two disjoint halves overlap by 0.9 or "
    "more (Eq. 9; the paper has 0.9642 on GSM8K, Llama2-7B).",
    "specific": "In every data set, its two halves overlap more than a half of it and a half of "
    "another data set: the neurons are particular to the data.",
}


@dataclass(frozen=True, kw_only=True)
class Table1(LocateConfig):
    """Values of cnl-table-1; those of :class:`LocateConfig`, and where a claim changes.

    Attributes:
        cohesive: the least overlap of two halves.
    """

    cohesive: float = 0.9


def run(config: Table1, bench: Workbench) -> Tables:
    """Locate on both halves of every data set, and compare each half with each."""
    located = locate_halves(config, bench)
    own = [site.parameters_per_neuron for site in bench.model.sites]
    cells = []
    for one in located.values():
        cells += _of_data_set(one, own, bench.model.hf.num_parameters())
    cells += _across(list(located.values()))
    return {"cells": cells, "located": located_rows(located)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table1) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    cells = tables["cells"]
    within = find(cells, block=BLOCK, row="overlap", extra=None)
    more = [one for one in find(cells, block=BLOCK, row=DIFFERENCE) if one["column"] != AVERAGE]
    return [
        above_everywhere("overlap", within, config.cohesive, "Overlap of two halves"),
        above_everywhere("specific", more, 0, "Overlap within minus across data sets"),
    ]


def _of_data_set(one: Located, own: Sequence[int], total: int) -> list[Row]:
    n, neurons = one.scores.n_samples, one.whole.real.sum().item()
    sizes = [len(draw) / neurons for draw in one.whole_draws]
    low, high = shifted_interval(one.whole.share, sizes)
    place = (BLOCK, "neuron", one.name)
    return [
        agreement_cell(BLOCK, "overlap", one.name, one.halves, one.half_draws, n),
        agreement_cell(BLOCK, "IoU", one.name, one.halves, one.half_draws, n, measure="iou"),
        cell(*place, one.whole.share, low=low, high=high, unit="share", n=n,
             neurons=len(one.whole)),
        cell(BLOCK, "neuron (of all parameters)", one.name, one.whole.parameter_share(own, total),
             unit="share", n=n, extra=True),
    ]  # fmt: skip


def _across(located: Sequence[Located]) -> list[Row]:
    """Each first half beside each second one; and by how much their own agree better."""
    cells = [
        agreement_cell(ACROSS, a.name, b.name, (a.halves[0], b.halves[1]),
                       (a.half_draws[0], b.half_draws[1]),
                       min(a.scores.n_samples, b.scores.n_samples), extra=True)
        for a in located
        for b in located
    ]  # fmt: skip
    if len(located) < 2:
        return cells
    columns = {one.name: _specificity(one, located) for one in located}
    columns[AVERAGE] = _mean_column(list(columns.values()))
    n = sum(one.scores.n_samples for one in located)
    for column, (within, across) in columns.items():
        rows = {
            "within": (within, (0.0, 1.0)),
            "across": (across, (0.0, 1.0)),
            DIFFERENCE: (within - across, (-1.0, 1.0)),
        }
        for row, (values, bounds) in rows.items():
            low, high = shifted_interval(float(values[0]), values[1:].tolist(), bounds)
            cells.append(cell(BLOCK, row, column, known(float(values[0])), low=low, high=high,
                              unit="share", n=n, extra=True))  # fmt: skip
    return cells


def _specificity(one: Located, located: Sequence[Located]) -> tuple[np.ndarray, np.ndarray]:
    """Return within and across of a data set: of the sets themselves, then of every draw."""
    pairs = [(a, b) for a, b in permutations(located, 2) if one is a or one is b]
    within = [overlap(*one.halves), *measured(one.half_draws)]
    each = [
        [overlap(a.halves[0], b.halves[1]), *measured((a.half_draws[0], b.half_draws[1]))]
        for a, b in pairs
    ]
    return np.array(within), np.array([mean_of(values) for values in zip(*each, strict=True)])


def _mean_column(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    within, across = (
        np.array([mean_of(values) for values in zip(*parts, strict=True)])
        for parts in zip(*columns, strict=True)
    )
    return within, across


PRESETS = {
    "smoke": Table1(data=data_sets.SMOKE, **data_sets.SMOKE_LOCATING),
    "cpu": Table1(data=data_sets.CPU, **data_sets.CPU_LOCATING),
    "paper": Table1(data=data_sets.PAPER, **data_sets.PAPER_LOCATING),
}

EXPERIMENTS.add(
    "cnl-table-1",
    Experiment(
        id="cnl-table-1",
        title="Overlap of the neurons located on two halves of a data set",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
