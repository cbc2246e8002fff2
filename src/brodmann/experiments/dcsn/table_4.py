"""DCSN Table 4: neurons activated by composed expressions, and erased in them.

Forward: each example's own scores select what it activates, by the same rule as the sets; the ratio
is the share of an operator's set that is activated, mean over the expression's operators (Eq. 4,
whose sum over operators is not divided by their number in print). A high ratio is composition only
if it is higher than that of operators that are not in the expression: neurons that answer to every
expression pass it, too. So that contrast decides, where there are other operators (2-OP, 3-OP).

Reverse: 2-OP erases each of the two operators' sets alone, averaged; 3- to 5-OP the union of the
expression's operators' sets. The paper does not say whether it erases a part; here whole sets are.
Table 5 shows growing parts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import or_

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import (
    AVERAGE,
    OPERATORS,
    Cell,
    Row,
    accuracy_cell,
    add_holm,
    cell,
    find,
    only,
)
from brodmann.experiments.check_values import check_least
from brodmann.experiments.claims import (
    Judged,
    above,
    below,
    unless_at_floor,
    unless_random_sets_do_it_too,
)
from brodmann.experiments.dcsn.erased_operators import (
    BASE,
    LOCATED,
    RANDOM,
    cells_of_all,
    cells_of_one,
    neutral_cells,
)
from brodmann.experiments.dcsn.forward import ALL, OWN_OTHERS, OWN_RANDOM, forward_cells
from brodmann.experiments.dcsn.operator_sets import (
    CPU,
    PAPER,
    SMOKE,
    Locating,
    by_operator,
    operator_sets,
    spec_of,
)
from brodmann.experiments.enhancing import pooled_cell
from brodmann.experiments.erasing import Erasure, erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

PARTS = {
    "2-OP": tuple("-".join(pair) for pair in combinations(OPERATORS, 2)),
    "3-OP": tuple("-".join(three) for three in combinations(OPERATORS, 3)),
    "4-OP": ("4op",),
    "5-OP": ("5op",),
}
"""Column -> parts of the data; those of one column have different operators."""


@dataclass(frozen=True, kw_only=True)
class Table4Config:
    """Everything that decides the table, besides the model.

    Attributes:
        locating: on what, and how, the sets are located.
        items: examples of each column, task and language whose activations are looked at.
        answered: examples of each column that are answered, at least.
        draws: layer-matched random sets beside each erased set.
        norm_draws: random sets matched by activation norm besides.
        neutral_draws: how many of them read neutral text.
    """

    locating: Locating
    items: int
    answered: int
    draws: int
    norm_draws: int
    neutral_draws: int

    def __post_init__(self) -> None:
        check_least(self, items=1, answered=1, draws=1, norm_draws=0, neutral_draws=0)


def run(config: Table4Config, bench: Workbench) -> Tables:
    """Look forward, and verify in reverse."""
    cells = forward_cells(bench, config.locating, config.items)
    sets = by_operator(operator_sets(bench, config.locating)["raw"])
    cells += _reverse_cells(bench, config, sets)
    cells += neutral_cells(bench, {**sets, **_unions(sets)}, config.neutral_draws)
    return {"cells": cells}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table4Config) -> list[Judged]:
    """Judge by the means over all rows of the table, and all columns."""
    cells = tables["cells"]

    def found(block: str, row: str, column: str = AVERAGE) -> Cell | None:
        return only(cells, block=block, row=row, column=column)

    base = [one for one in find(cells, block="Reverse", row=BASE) if one["column"] != AVERAGE]
    beyond = found("Reverse", f"{LOCATED} - {RANDOM}")
    reverse = below("reverse", beyond, 0.0, "Own sets' harm less random sets'")
    return [
        above("activated", found("Forward", ALL), 0.8, "Mean activation ratio"),
        above(
            "composed",
            found("Forward, contrasts", ALL, OWN_OTHERS),
            0.0,
            "Own operators' sets less the others', 2-OP and 3-OP",
        ),
        above(
            "beyond_random",
            found("Forward, contrasts", ALL, OWN_RANDOM),
            0.0,
            "Own operators' sets less random sets",
        ),
        above(
            "contrastive_composed",
            found("Forward, contrasts (contrastive)", ALL, OWN_OTHERS),
            0.0,
            "Contrastive sets: own operators' less the others', 2-OP and 3-OP",
        ),
        unless_at_floor(unless_random_sets_do_it_too(reverse, found("Reverse", LOCATED)), base),
    ]


def _reverse_cells(
    bench: Workbench, config: Table4Config, sets: Mapping[str, NeuronSet]
) -> list[Row]:
    cells: list[Row] = []
    bases, erasures = [], []
    for column, parts in PARTS.items():
        count = math.ceil(config.answered / len(parts))
        options, seed = config.locating.options, config.locating.seed
        samples = {part: Sample(spec_of(part, options), "test", count, seed) for part in parts}
        bases.append(_together([bench.answers(sample) for sample in samples.values()]))
        cells.append(accuracy_cell("Reverse", BASE, column, bases[-1]))
        found = [_erased(bench, config, sets, part, sample) for part, sample in samples.items()]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            cells += [_nothing(row, column) for row in (RANDOM, LOCATED)]
            continue
        erasures.append(_all_parts(known))
        cells += cells_of_one(erasures[-1], "Reverse", column, "", {})
    add_holm([one for one in cells if one["row"] == LOCATED and one.get("p") is not None])
    cells.append(pooled_cell("Reverse", BASE, AVERAGE, bases))
    if len(erasures) < len(PARTS):
        return cells + [_nothing(row, AVERAGE) for row in (RANDOM, LOCATED)]
    return cells + cells_of_all(erasures, "Reverse", "", {})


def _nothing(row: str, column: str) -> Row:
    """Some set is empty: nothing was erased."""
    return cell("Reverse", row, column, None, unit="accuracy", neurons=0)


def _erased(
    bench: Workbench,
    config: Table4Config,
    sets: Mapping[str, NeuronSet],
    part: str,
    sample: Sample,
) -> Erasure | None:
    """Erase the operators of a part; None where one of them has no neurons."""
    names = _operators_of(part, sets)
    own = [sets[name] for name in names]
    if not all(len(one) for one in own):
        return None
    erased = own if len(names) == 2 else [reduce(or_, own)]
    return _averaged(
        [
            erase_and_compare(
                bench,
                one,
                sample,
                draws=config.draws,
                norm_draws=config.norm_draws,
                seed=config.locating.seed,
            )
            for one in erased
        ]
    )


def _operators_of(part: str, sets: Mapping[str, NeuronSet]) -> list[str]:
    return [name for name in part.split("-") if name in sets] or list(OPERATORS)


def _unions(sets: Mapping[str, NeuronSet]) -> dict[str, NeuronSet]:
    """The sets that are erased together: those of three operators or more."""
    parts = [_operators_of(part, sets) for some in PARTS.values() for part in some]
    named = {"-".join(names): [sets[name] for name in names] for names in parts if len(names) > 2}
    return {name: reduce(or_, own) for name, own in named.items() if all(map(len, own))}


def _averaged(erasures: Sequence[Erasure]) -> Erasure:
    """Average several erasures' answers, example by example."""
    if len(erasures) == 1:
        return erasures[0]
    return Erasure(
        erasures[0].base,
        _mean_answers([one.located for one in erasures]),
        [_mean_answers(drawn) for drawn in zip(*(one.random for one in erasures), strict=True)],
        [_mean_answers(drawn) for drawn in zip(*(one.by_norm for one in erasures), strict=True)],
    )


def _mean_answers(found: Sequence[Evaluation]) -> Evaluation:
    measured = ("correct", "margin", "format_ok")
    columns = {name: zip(*(one.column(name) for one in found), strict=True) for name in measured}
    means = {name: [sum(v) / len(v) for v in values] for name, values in columns.items()}
    return Evaluation.from_rows(
        [
            dict(row) | {name: means[name][i] for name in measured}
            for i, row in enumerate(found[0].rows)
        ]
    )


def _all_parts(erasures: Sequence[Erasure]) -> Erasure:
    """The parts of a column as one; draw i of each goes with draw i of the others."""
    return Erasure(
        _together([one.base for one in erasures]),
        _together([one.located for one in erasures]),
        [_together(drawn) for drawn in zip(*(one.random for one in erasures), strict=True)],
        [_together(drawn) for drawn in zip(*(one.by_norm for one in erasures), strict=True)],
    )


def _together(found: Sequence[Evaluation]) -> Evaluation:
    return Evaluation.from_rows([row for one in found for row in one.rows])


CLAIMS = {
    "activated": "Composed expressions activate more than 0.8 of their operators' sets, on average "
    "over tasks, languages and 2- to 5-OP (the paper: 0.80 to 0.94).",
    "composed": "They activate more of the sets of their own operators than of the others', where "
    "there are others: only then is it composition (the paper does not compare).",
    "beyond_random": "They activate more of their operators' sets than of random sets with as many "
    "neurons in each layer.",
    "contrastive_composed": "The same as 'composed' for the contrastive sets.",
    "reverse": "Erasing the operators' sets lowers accuracy by more than erasing random sets with "
    "as many neurons in each layer, on average over 2- to 5-OP (the paper: 26.9 points against "
    "0.4).",
}

PRESETS = {
    "smoke": Table4Config(
        locating=SMOKE, items=4, answered=2, draws=1, norm_draws=1, neutral_draws=1
    ),
    "cpu": Table4Config(
        locating=CPU, items=24, answered=24, draws=10, norm_draws=5, neutral_draws=3
    ),
    "paper": Table4Config(
        locating=PAPER, items=996, answered=200, draws=99, norm_draws=20, neutral_draws=20
    ),
}

EXPERIMENTS.add(
    "dcsn-table-4",
    Experiment(
        id="dcsn-table-4",
        title="Composition: activation ratios, and erasing the composed operators",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models={
            "smoke": ("tiny-random",),
            "cpu": ("smollm2-135m",),
            "paper": ("meta-llama/Llama-2-7b-hf", "EleutherAI/gpt-j-6b"),
        },
    ),
)
