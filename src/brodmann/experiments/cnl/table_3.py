"""cnl-table-3: what is lost when the located neurons are erased, at three thresholds.

The margin decides, not the accuracy: it is read from the right answers, token by token, and moves
where a model that answers nothing right has no accuracy to lose (as the paper's has not on GSM8K).
A larger σ selects fewer neurons, so the thresholds are the doses of this table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brodmann.evaluate import bootstrap_interval, paired_difference
from brodmann.experiments.cells import (
    AVERAGE,
    Cell,
    Row,
    accuracy_cell,
    add_holm,
    average_cell,
    cell,
    change_cell,
    find,
    only,
    units,
)
from brodmann.experiments.check_values import check_least
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.everywhere import below_everywhere
from brodmann.experiments.cnl.halves import LocateConfig, locate_halves, located_rows
from brodmann.experiments.cnl.neutral_text import neutral_cells, told_of_neutral
from brodmann.experiments.erasing import (
    Erasure,
    beyond_random,
    erase_and_compare,
    standing_of_mean,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench

BEYOND, DOSE = "Located - Random", "Largest σ - smallest σ"
BEYOND_NORM = f"{BEYOND}, by norm"
MARGIN = "Margin, "
"""Before the name of a block: the same in nats of the margin, which the paper does not have."""

CLAIMS = {
    "harm": "At every σ, erasing the located neurons lowers the margin of their data set's answers "
    "more than erasing random neurons does, as many in each layer (the paper: accuracy falls by "
    "0.109, 0.074 and 0.046 on average at σ = 3, 6 and 12, and by 0.002 or less at random).",
    "dose": "A larger σ, and with it a smaller set, harms less (the paper: 0.046 at σ = 12 against "
    "0.109 at σ = 3, Llama2-7B; the same, 0.183 and 0.187, with Llama2-13B).",
}


@dataclass(frozen=True, kw_only=True)
class Table3(LocateConfig):
    """Values of cnl-table-3; those of :class:`LocateConfig`, whose ``sigma`` is not used.

    Attributes:
        sigmas: thresholds, ascending.
        items: data set -> test items; these are the data sets that are erased and tested.
        draws: random sets beside each located one.
        norm_draws: random sets matched by activation norm besides.
    """

    sigmas: tuple[int | float, ...] = (3, 6, 12)
    items: Mapping[str, int]
    draws: int = 20
    norm_draws: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, draws=1, norm_draws=0)


def run(config: Table3, bench: Workbench) -> Tables:
    """Erase what was located on each data set, and let the model answer its test items."""
    located = locate_halves(config, bench)
    cells: list[Row] = []
    by_sigma: list[dict[str, Erasure]] = []
    for sigma in config.sigmas:
        block, erasures = f"σ={sigma:g}", {}
        for name, items in config.items.items():
            neurons = located[name].scores.select(sigma)
            test = Sample(config.data[name], "test", items, config.seed)
            erasures[name] = erase_and_compare(
                bench,
                neurons,
                test,
                draws=config.draws,
                norm_draws=config.norm_draws,
                seed=config.seed,
            )
            cells += _of_data_set(block, name, erasures[name], len(neurons))
            cells += neutral_cells(bench, block, name, neurons, config.draws, config.seed)
        add_holm([one for one in cells if (one["block"], one["row"]) == (MARGIN + block, BEYOND)])
        cells += _average(block, erasures)
        by_sigma.append(erasures)
    cells += _dose(by_sigma[0], by_sigma[-1])
    return {"cells": cells, "located": located_rows(located)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table3) -> list[Judged]:
    """Judge :data:`CLAIMS`: by the margin, which can fall where no answer is right."""
    cells = tables["cells"]
    blocks = [f"σ={sigma:g}" for sigma in config.sigmas]
    beyond = [
        one
        for block in blocks
        for one in find(cells, block=MARGIN + block, row=BEYOND, column=AVERAGE)
    ]
    harm = below_everywhere("harm", beyond, 0, "Change of the margin beyond random sets, nats")
    dose = only(cells, block=DOSE, row="Located", column=AVERAGE)
    return [
        (harm[0], harm[1], f"{harm[2]} {told_of_neutral(cells)}"),
        above("dose", dose, 0, "Margin at the largest σ minus at the smallest, nats"),
    ]


def _of_data_set(block: str, name: str, found: Erasure, neurons: int) -> list[Row]:
    cells = [accuracy_cell(block, "Base", name, found.base)]
    if not neurons:
        empty = {"unit": "accuracy", "n": found.base.n_independent, "neurons": 0}
        return [*cells, *(cell(block, row, name, None, **empty) for row in ("Random", "Located"))]
    about = {"neurons": neurons, "draws": len(found.random)}
    cells += [
        _random_cell(block, name, found, neurons),
        accuracy_cell(block, "Located", name, found.located, **about,
                      rank=found.standing("margin").rank, p=found.standing("margin").p),
    ]  # fmt: skip
    for place, unit, measure in (
        (block, "change", "correct"),
        (MARGIN + block, "margin", "margin"),
    ):
        random = found.random_mean(measure)
        before, after = found.base.column(measure), found.located.column(measure)
        groups = units(found.base)
        pairs = {
            "Located - Base": (before, after),
            "Random - Base": (before, random),
            BEYOND: (random, after),
        }
        cells += [
            change_cell(place, row, name, paired_difference(*pair, groups=groups), unit,
                        extra=True, **about)
            for row, pair in pairs.items()
        ]  # fmt: skip
    by_norm = beyond_random([found.beside_norm], "margin")
    if by_norm is not None:
        cells.append(change_cell(MARGIN + block, BEYOND_NORM, name, by_norm, "margin", extra=True,
                                 neurons=neurons, draws=len(found.by_norm)))  # fmt: skip
    return cells


def _random_cell(block: str, name: str, found: Erasure, neurons: int) -> Row:
    """Return the mean accuracy over the random sets; ``worst`` is that of the most harmful one."""
    column = found.random_mean()
    low, high = bootstrap_interval(column, groups=units(found.base))
    margins = [one.margin for one in found.random]
    return cell(
        block, "Random", name, sum(column) / len(column), low=low, high=high, unit="accuracy",
        n=found.base.n_independent, neurons=neurons, draws=len(found.random),
        worst=min(one.accuracy for one in found.random),
        margin=sum(margins) / len(margins), margin_worst=min(margins),
    )  # fmt: skip


def _average(block: str, erasures: Mapping[str, Erasure]) -> list[Row]:
    """Return the column of averages over the data sets, each of which weighs the same."""
    found = [one for one in erasures.values() if one.random]
    cells = [average_cell(block, "Base", [one.base for one in erasures.values()])]
    if len(found) < len(erasures):
        empty = [cell(block, row, AVERAGE, None, unit="accuracy") for row in ("Random", "Located")]
        beyond = cell(MARGIN + block, BEYOND, AVERAGE, None, unit="margin", extra=True)
        return [*cells, *empty, beyond]
    cells += [
        _mean_cell(block, "Random", [one.random_mean() for one in found], found, "accuracy"),
        average_cell(block, "Located", [one.located for one in found]),
    ]
    for place, unit, measure in (
        (block, "change", "correct"),
        (MARGIN + block, "margin", "margin"),
    ):
        located = [one.located.column(measure) for one in found]
        others = {
            "Located - Base": [one.base.column(measure) for one in found],
            BEYOND: [one.random_mean(measure) for one in found],
        }
        if measure == "margin" and all(one.by_norm for one in found):
            others[BEYOND_NORM] = [one.beside_norm.random_mean(measure) for one in found]
        for row, other in others.items():
            cells.append(_mean_cell(place, row, _minus(located, other), found, unit, extra=True))
            if row == BEYOND:
                stands = standing_of_mean(found, measure)
                cells[-1] |= {"rank": stands.rank, "draws": stands.draws}
    return cells


def _dose(smallest: Mapping[str, Erasure], largest: Mapping[str, Erasure]) -> list[Row]:
    """What the smaller sets, of the largest σ, leave of the margin beyond the larger ones."""
    names = [name for name in smallest if smallest[name].random and largest[name].random]
    found = [smallest[name] for name in names]
    if not found:
        return []
    more = _minus(
        [largest[name].located.column("margin") for name in names],
        [one.located.column("margin") for one in found],
    )
    cells = [
        _mean_cell(DOSE, "Located", [column], [one], "margin", name, extra=True)
        for name, column, one in zip(names, more, found, strict=True)
    ]
    return [*cells, _mean_cell(DOSE, "Located", more, found, "margin", extra=True)]


def _mean_cell(
    block: str,
    row: str,
    columns: Sequence[Sequence[float]],
    found: Sequence[Erasure],
    unit: str,
    column: str = AVERAGE,
    **more: object,
) -> Row:
    """Return the mean over data sets of means over examples, with its bootstrap interval."""
    low, high = bootstrap_interval(
        [value for values in columns for value in values],
        groups=[name for one in found for name in units(one.base)],
        parts=[number for number, values in enumerate(columns) for _ in values],
    )
    mean = sum(sum(values) / len(values) for values in columns) / len(columns)
    n = sum(one.base.n_independent for one in found)
    return cell(block, row, column, mean, low=low, high=high, unit=unit, n=n, **more)


def _minus(
    after: Sequence[Sequence[float]], before: Sequence[Sequence[float]]
) -> list[list[float]]:
    return [
        [a - b for a, b in zip(*columns, strict=True)]
        for columns in zip(after, before, strict=True)
    ]


PRESETS = {
    "smoke": Table3(
        data=data_sets.SMOKE_TESTED,
        items=dict.fromkeys(data_sets.SMOKE_TESTED, 2),
        sigmas=(2, 2.5, 3),
        draws=1,
        norm_draws=1,
        **data_sets.SMOKE_LOCATING,
    ),
    "cpu": Table3(
        data=data_sets.CPU_TESTED,
        items={"GSM8K": 12, "GoEmotions": 32, "CodeXGLUE": 12},
        draws=5,
        norm_draws=3,
        **data_sets.CPU_LOCATING,
    ),
    "paper": Table3(
        data=data_sets.PAPER_TESTED,
        items={"GSM8K": 1319, "Emotion": 2000, "Code25K": 1000},
        **data_sets.PAPER_LOCATING,
    ),
}
"""``cpu`` and ``smoke`` have few items and draws: a wrong answer to GSM8K is 256 tokens long."""

EXPERIMENTS.add(
    "cnl-table-3",
    Experiment(
        id="cnl-table-3",
        title="Erasing the located neurons at three thresholds",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=data_sets.MODELS,
        needs="data sets",
    ),
)
