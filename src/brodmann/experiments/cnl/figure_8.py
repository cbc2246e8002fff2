"""cnl-figure-8: what the sets that six methods locate on facts do to other data.

The paper draws the picture for other methods and names neither them nor a number. Here sets of
the methods of cnl-table-4, located on facts, are erased, and the model answers other data sets: a
set that is about those facts should leave them as random sets do. The margins of right answers
decide, as in cnl-table-3; sets made of whole layers stand beside as many neurons drawn from all
layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from brodmann.evaluate import Difference, paired_difference
from brodmann.experiments.cells import (
    Cell,
    Row,
    accuracy_cell,
    add_holm,
    cell,
    change_cell,
    find,
    units,
)
from brodmann.experiments.claims import Judged
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.everywhere import below_everywhere
from brodmann.experiments.cnl.fact_methods import Located, MethodConfig, locate_all
from brodmann.experiments.cnl.fact_sample import chosen_facts
from brodmann.experiments.cnl.section_3_1 import MODELS, fact_rows
from brodmann.experiments.cnl.table_4 import CPU, PAPER, SMOKE
from brodmann.experiments.erasing import Erasure, erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench

CHANGE, BEYOND, ACCURACY = "Erased: margin", "Erased: margin, Located - Random", "Erased: accuracy"

CLAIMS = {
    "common": "Erasing what CNL locates on facts lowers the margin of the answers in every other "
    "data set more than random sets do: it is not about these facts alone.",
    "individual": "The same of KN's neurons of these facts (for the paper, methods that look for "
    "individual knowledge find something common).",
}
JUDGED = {"common": "CNL", "individual": "KN"}
"""Claim -> the method that it is about."""


@dataclass(frozen=True, kw_only=True)
class Figure8(MethodConfig):
    """Values of cnl-figure-8; those of :class:`MethodConfig`, and the other data.

    Attributes:
        data: data set -> its data spec.
        items: test items of each.
    """

    data: Mapping[str, str]
    items: int


def run(config: Figure8, bench: Workbench) -> Tables:
    """Erase what each method locates on facts, and let the model answer other data."""
    sample = chosen_facts(config, bench)
    located = locate_all(config, bench, sample.facts)
    cells = [*sample.cells]
    for column, spec in config.data.items():
        test = Sample(spec, "test", config.items, config.seed)
        cells.append(accuracy_cell(ACCURACY, "Base", column, bench.answers(test), extra=True))
        for name, one in located.items():
            cells += _erased(config, bench, name, one, column, test)
    for block in (CHANGE, BEYOND):
        add_holm([one for one in cells if one["block"] == block])
    return {"cells": cells, "facts": fact_rows(sample)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Figure8) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    return [
        below_everywhere(
            claim, find(tables["cells"], block=BEYOND, row=name), 0,
            f"Change of the margin beyond random sets, {name}, nats",
        )
        for claim, name in JUDGED.items()
    ]  # fmt: skip


def _erased(
    config: Figure8, bench: Workbench, name: str, one: Located, column: str, test: Sample
) -> list[Row]:
    """Return a method's cells in one column."""
    if not len(one.whole):
        return [cell(CHANGE, name, column, None, unit="margin", neurons=0)]
    found = erase_and_compare(
        bench, one.whole, test, draws=config.erasures, match=one.match, seed=config.seed
    )
    place = found.standing("margin")
    about = {"neurons": len(one.whole), "draws": place.draws, "match": one.match}
    return [
        change_cell(CHANGE, name, column, found.change("margin"), "margin", **about),
        change_cell(
            BEYOND, name, column, _beyond(found), "margin", extra=True, rank=place.rank, **about
        ),
        accuracy_cell(ACCURACY, name, column, found.located, extra=True, **about),
    ]


def _beyond(found: Erasure) -> Difference:
    before, after = found.random_mean("margin"), found.located.column("margin")
    return paired_difference(before, after, groups=units(found.base))


def _with_data(config: MethodConfig, data: Mapping[str, str], items: int) -> Figure8:
    return Figure8(**vars(config), data=data, items=items)


PRESETS = {
    "smoke": _with_data(SMOKE, {"Emotion": data_sets.SMOKE["Emotion"]}, 2),
    "cpu": _with_data(
        replace(CPU, n_facts=8, circuits=8),
        {name: data_sets.CPU[name] for name in ("GoEmotions", "TweetEval")},
        16,
    ),
    "paper": _with_data(PAPER, data_sets.PAPER, 1000),
}
"""``cpu`` has data with closed answers: a wrong answer to GSM8K is 256 tokens long."""

EXPERIMENTS.add(
    "cnl-figure-8",
    Experiment(
        id="cnl-figure-8",
        title="Other methods' neurons on other data",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
        needs="data sets and facts",
    ),
)
