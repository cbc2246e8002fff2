"""cnl-figure-4: where the located neurons of each data set are, and how far the sets coincide.

The paper looks at the pictures and sees that data sets share neurons. Sets of different data sets
that crowd into the same layers share some by chance, so each overlap is compared with that of
random sets with as many neurons in each layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from brodmann.experiments.cells import Cell, Row, add_holm, cell, find
from brodmann.experiments.claims import Judged
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.agreement import agreement_cell
from brodmann.experiments.cnl.everywhere import above_everywhere
from brodmann.experiments.cnl.halves import LocateConfig, Located, locate_halves, located_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench

BLOCK, BEYOND = "Overlap", "Overlap - chance"

CLAIMS = {
    "common": "The sets of every two data sets share more neurons than random sets with as many "
    "in each layer (the paper sees overlaps in its Fig. 4 and does not count them).",
}


@dataclass(frozen=True, kw_only=True)
class Figure4(LocateConfig):
    """Values of cnl-figure-4; those of :class:`LocateConfig`, and how the map is drawn.

    Attributes:
        neighbours: of so many neighbouring neurons the strongest is shown.
    """

    neighbours: int = 100


def run(config: Figure4, bench: Workbench) -> Tables:
    """Locate on every data set; tell the strongest neurons, and how alike the sets are."""
    located = locate_halves(config, bench)
    pairs = list(combinations(located.values(), 2))
    cells = [
        agreement_cell(BLOCK, a.name, b.name, (a.whole, b.whole), (a.whole_draws, b.whole_draws),
                       a.scores.n_samples + b.scores.n_samples, extra=True)
        for a, b in pairs
    ]  # fmt: skip
    add_holm(cells)
    cells += [_beyond_chance(one) for one in cells]
    cells += [
        cell("Located", name, "neurons", len(one.whole), unit="neurons",
             n=one.scores.n_samples, extra=True)
        for name, one in located.items()
    ]  # fmt: skip
    rows = [row for one in located.values() for row in neuron_rows(one, config.neighbours)]
    return {"cells": cells, "neurons": rows, "located": located_rows(located)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Figure4) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    beyond = find(tables["cells"], block=BEYOND)
    return [above_everywhere("common", beyond, 0, "Overlap minus that of layer-matched sets")]


def neuron_rows(one: Located, neighbours: int) -> list[Row]:
    """Return the strongest of each run of neighbouring neurons, layer by layer.

    Returns:
        Rows of ``data``, ``layer``, ``neuron``, ``value`` (its signed score) and ``located``
        (whether it is in the set).
    """
    rows = []
    for layer, real in enumerate(one.scores.real):
        values = one.scores.values[layer][real]  # padding stands behind the neurons that exist
        for start in range(0, len(values), neighbours):
            neuron = start + int(values[start : start + neighbours].abs().argmax())
            rows.append(
                {
                    "data": one.name,
                    "layer": layer,
                    "neuron": neuron,
                    "value": float(values[neuron]),
                    "located": (layer, neuron) in one.whole,
                }
            )
    return rows


def _beyond_chance(one: Cell) -> Row:
    level = one["chance_layer_matched"]
    value, low, high = (
        None if one[key] is None or level is None else one[key] - level
        for key in ("value", "low", "high")
    )
    return cell(BEYOND, one["row"], one["column"], value, low=low, high=high, unit="share",
                n=one["n"], p=one["p"], extra=True)  # fmt: skip


PRESETS = {
    "smoke": Figure4(data=data_sets.SMOKE, **data_sets.SMOKE_LOCATING),
    "cpu": Figure4(data=data_sets.CPU, **data_sets.CPU_LOCATING),
    "paper": Figure4(data=data_sets.PAPER, **data_sets.PAPER_LOCATING),
}

EXPERIMENTS.add(
    "cnl-figure-4",
    Experiment(
        id="cnl-figure-4",
        title="Where the located neurons of each data set are",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
