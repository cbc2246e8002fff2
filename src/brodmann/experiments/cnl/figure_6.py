"""cnl-figure-6: how the located neurons settle as more examples are read.

The scores are kept in blocks of examples, so the curve takes no further pass over the model: the
first k blocks of both halves hold k/16 of the examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from brodmann.experiments.cells import Cell, Row, cell, find
from brodmann.experiments.claims import Judged
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.agreement import agreement_cell, known
from brodmann.experiments.cnl.everywhere import above_everywhere
from brodmann.experiments.cnl.halves import LocateConfig, Located, locate_halves, located_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import chance, layer_matched_chance, overlap

COHESION, KEPT = "cohesion", "overlap with the full set"

CLAIMS = {
    "settled": "With all examples, the sets of two disjoint halves overlap by 0.9 or more in every "
    "data set (the paper's curves, whose values are not printed, flatten towards 1).",
}


@dataclass(frozen=True, kw_only=True)
class Figure6(LocateConfig):
    """Values of cnl-figure-6; those of :class:`LocateConfig`, and where a claim changes.

    Attributes:
        blocks: at how many blocks of examples of each half to look, out of 16.
        cohesive: the least overlap of two halves.
    """

    blocks: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16)
    cohesive: float = 0.9


def run(config: Figure6, bench: Workbench) -> Tables:
    """Select again from the first blocks of examples, more and more of them."""
    located = locate_halves(config, bench)
    cells = [row for one in located.values() for row in _curve(one, config)]
    return {"cells": cells, "located": located_rows(located)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Figure6) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    full = find(tables["cells"], row=COHESION, full=True)
    return [above_everywhere("settled", full, config.cohesive, "Overlap of two halves")]


def _curve(one: Located, config: Figure6) -> list[Row]:
    filled = (one.scores.block_counts > 0).nonzero()[:, 0]
    most = len(filled) // 2  # blocks of the two halves take turns
    cells = []
    for blocks in sorted({min(number, most) for number in config.blocks} | {most}):
        times = torch.zeros_like(one.scores.block_counts)
        times[filled[: 2 * blocks]] = 1
        first = Located(one.name, one.scores.reweighted(times), config, one.index)
        cells += _at(first, one, blocks == most)
    return cells


def _at(first: Located, one: Located, full: bool) -> list[Row]:
    n, column = first.scores.n_samples, str(first.scores.n_samples)
    draws = first.half_draws
    a, b = first.whole, one.whole
    return [
        agreement_cell(one.name, COHESION, column, first.halves, draws, n, full=full),
        cell(one.name, KEPT, column, known(overlap(a, b)), unit="share", n=n,
             chance=known(chance(a, b).overlap),
             chance_layer_matched=known(layer_matched_chance(a, b).overlap),
             neurons=[len(a), len(b)], full=full),
        cell(one.name, "neurons", column, len(a), unit="neurons", n=n, full=full, extra=True),
    ]  # fmt: skip


PRESETS = {
    "smoke": Figure6(data=data_sets.SMOKE, **data_sets.SMOKE_LOCATING),
    "cpu": Figure6(data=data_sets.CPU, **data_sets.CPU_LOCATING),
    "paper": Figure6(data=data_sets.PAPER, **data_sets.PAPER_LOCATING),
}

EXPERIMENTS.add(
    "cnl-figure-6",
    Experiment(
        id="cnl-figure-6",
        title="How the located neurons settle with the number of examples",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
