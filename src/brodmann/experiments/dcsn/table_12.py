"""dcsn.txt Table 12: which σ is the best, by what tuning and erasing the sets does.

A larger σ selects fewer neurons, so that size alone may explain what is seen: random sets of the
same sizes stand beside every number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from brodmann.errors import InputError
from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import (
    AVERAGE,
    Cell,
    Row,
    add_holm,
    average_cell,
    cell,
    find,
    only,
    units,
)
from brodmann.experiments.claims import Judged, above, told, unless_at_floor
from brodmann.experiments.dcsn.erased_operators import LOCATED as ERASED
from brodmann.experiments.dcsn.erased_operators import erasure_cells, neutral_cells
from brodmann.experiments.dcsn.table_2 import (
    ENHANCE,
    ERASE,
    LOCATED,
    ORIGINAL,
    OVER_RANDOM,
    RANDOM,
    EnhanceErase,
    tuned_operators,
)
from brodmann.experiments.dcsn.table_2 import PRESETS as OF_TABLE_2
from brodmann.experiments.enhancing import (
    contrast_cell,
    paired,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.map_verdict import ALPHA, NOT_SUPPORTED, SUPPORTED, UNDECIDED
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

ERASED_RANDOM = "Deactivate-Random"
OVER_ORIGINAL = f"{LOCATED} - {ORIGINAL}"


@dataclass(frozen=True, kw_only=True)
class SigmaSweep(EnhanceErase):
    """What to tune and erase at which σ; ``sigma`` is the one that is claimed to be the best.

    Attributes:
        sigmas: the sweep.
    """

    sigmas: tuple[int | float, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma not in self.sigmas:
            raise InputError(
                f"Expected sigma among the sigmas {list(self.sigmas)}, for it is compared with the "
                f"others; got {self.sigma:g}. Write --set sigmas with it, too."
            )


def run(config: SigmaSweep, bench: Workbench) -> Tables:
    """Select by every σ, tune and erase."""
    scores = {
        name: bench.scores(Sample(config.spec(name), "train", config.n_located), target="first")
        for name in config.operators
    }
    enhanced: dict[str, list[Evaluation]] = {}
    erased: dict[str, list[Evaluation]] = {}
    base = {name: bench.answers(config.test(name)) for name in config.operators}
    cells, counts = list[Row](), list[Row]()
    for sigma in config.sigmas:
        column = f"{sigma:g}"
        sets = {name: one.select(sigma=sigma) for name, one in scores.items()}
        counts += [{"sigma": sigma, "operator": n, "neurons": len(s)} for n, s in sets.items()]
        size = sum(map(len, sets.values())) / len(sets)
        cells.append(cell("Sets", "neurons", column, size, unit="neurons", extra=True))
        found, enhanced[column] = _enhance(config, bench, sets, column, base, size)
        cells += found
        parts = {n: s.strongest(scores[n], config.fraction) for n, s in sets.items() if len(s)}
        found, erased[column] = _erase(config, bench, parts, column, base, size)
        cells += found
        cells += neutral_cells(bench, parts, config.neutral_draws, f", σ={column}")
    for block, answers in ((ENHANCE, enhanced), (ERASE, erased)):
        cells += _against_the_others(block, f"{config.sigma:g}", answers)
    add_holm([one for one in cells if one["row"] == OVER_RANDOM])
    return {"cells": cells, "sets": counts}


def _enhance(
    config: SigmaSweep,
    bench: Workbench,
    sets: Mapping[str, NeuronSet],
    column: str,
    base: Mapping[str, Evaluation],
    size: float,
) -> tuple[list[Row], list[Evaluation]]:
    tuned = {row: tuned_operators(config, bench, sets, row)[0] for row in (RANDOM, LOCATED)}
    answers = {
        row: [one for name in sets for one in found.get(name, ())] for row, found in tuned.items()
    }
    if len(answers[LOCATED]) < len(sets) * len(config.schedule.seeds):
        return [cell(ENHANCE, AVERAGE, column, None, unit="accuracy", neurons=size)], []
    both = paired(answers[RANDOM], answers[LOCATED])
    gains = [pair for name in sets for pair in paired([base[name]], tuned[LOCATED][name])]
    return [
        _mean(ENHANCE, AVERAGE, column, answers[LOCATED], neurons=size),
        _mean(ENHANCE, RANDOM, column, answers[RANDOM], neurons=size, extra=True),
        _mean(ENHANCE, ORIGINAL, column, list(base.values()), extra=True),
        contrast_cell(ENHANCE, OVER_RANDOM, column, both, extra=True),
        contrast_cell(ENHANCE, OVER_ORIGINAL, column, gains, extra=True),
    ], answers[LOCATED]


def _mean(block: str, row: str, column: str, found: Sequence[Evaluation], **more: Any) -> Row:
    """The mean over operators and seeds, at one σ."""
    n = len({unit for one in found for unit in units(one)})
    return average_cell(block, row, found, **more) | {"column": column, "n": n}


def _erase(
    config: SigmaSweep,
    bench: Workbench,
    parts: Mapping[str, NeuronSet],
    column: str,
    base: Mapping[str, Evaluation],
    size: float,
) -> tuple[list[Row], list[Evaluation]]:
    if len(parts) < len(config.operators):
        return [cell(ERASE, AVERAGE, column, None, unit="accuracy", neurons=size)], []
    tests = {name: config.test(name) for name in parts}
    found = erasure_cells(bench, parts, tests, config.draws, config.norm_draws, ERASE)
    cells = [_mean(ERASE, ORIGINAL, column, list(base.values()), extra=True)]
    for one in find(found, column=AVERAGE):
        if one["row"] != ORIGINAL:
            extra = {} if one["row"] == ERASED else {"extra": True}
            row = AVERAGE if one["row"] == ERASED else one["row"]
            cells.append({**one, "row": row, "column": column, "neurons": size, **extra})
    return cells, [bench.answers(tests[name], one) for name, one in parts.items()]


def _against_the_others(
    block: str, best: str, answers: Mapping[str, Sequence[Evaluation]]
) -> list[Row]:
    """Contrast the claimed σ with each other one; Holm over them."""
    cells = [
        contrast_cell(block, f"σ={best} - σ", column, paired(found, answers[best]), extra=True)
        for column, found in answers.items()
        if column != best and found and answers[best]
    ]
    add_holm(cells)
    return cells


CLAIMS = {
    "best_to_tune": "of all σ the sets of σ = 6 gain the most by tuning (66.9 in Table 12)",
    "best_to_erase": "of all σ erasing from the sets of σ = 6 harms the most (22.6 in Table 12)",
    "not_size": "at σ = 6 tuning the set gains more than tuning a random set of its size",
}


def judge(tables: Mapping[str, Sequence[Cell]], config: SigmaSweep) -> list[Judged]:
    """Judge whether the claimed σ beats every other one, and random sets of its size."""
    cells, best = tables["cells"], f"{config.sigma:g}"
    tune = _best("best_to_tune", cells, ENHANCE, config, sign=1)
    erase = _best("best_to_erase", cells, ERASE, config, sign=-1)
    size = above(
        "not_size",
        only(cells, block=ENHANCE, row=OVER_RANDOM, column=best),
        0,
        f"Accuracy of {OVER_RANDOM} at σ = {best}",
    )
    compared = [
        one for row in (ORIGINAL, RANDOM, AVERAGE) for one in find(cells, block=ENHANCE, row=row)
    ]
    raised = only(cells, block=ENHANCE, row=OVER_ORIGINAL, column=best)
    base = find(cells, block=ERASE, row=ORIGINAL)[:1]
    return [
        unless_tuning_shows_nothing(tune, compared, raised),
        unless_at_floor(erase, base),
        unless_tuning_shows_nothing(size, compared, raised),
    ]


def _best(claim: str, cells: Sequence[Cell], block: str, config: SigmaSweep, sign: int) -> Judged:
    row = f"σ={config.sigma:g} - σ"
    found = find(cells, block=block, row=row)
    if not found:
        return claim, UNDECIDED, f"σ = {config.sigma:g} selects nothing to compare, or all others."
    sure = [one for one in found if one["p_holm"] < ALPHA]
    beaten = [one for one in sure if sign * one["value"] > 0]
    better = [one for one in sure if sign * one["value"] < 0]
    values = ", ".join(f"{one['column']}: {told(one)}" for one in found)
    because = (
        f"σ = {config.sigma:g} minus each other σ: {values}; beyond doubt (Holm) it beats "
        f"{len(beaten)} of {len(config.sigmas) - 1}, and {len(better)} beat it."
    )
    if better:
        return claim, NOT_SUPPORTED, because
    all_beaten = len(beaten) == len(config.sigmas) - 1
    return claim, SUPPORTED if all_beaten else UNDECIDED, because


def _preset(name: str, **changes: Any) -> SigmaSweep:
    one = OF_TABLE_2[name]
    return SigmaSweep(**{**{key: getattr(one, key) for key in asdict(one)}, **changes})


PRESETS = {
    "smoke": _preset("smoke", operators=("add",), sigmas=(2, 3)),
    "cpu": _preset("cpu", draws=5, norm_draws=5, neutral_draws=1, sigmas=(1, 3, 6, 9)),
    "paper": _preset("paper", draws=20),
}
"""As Table 2; fewer draws, and on two cores fewer σ."""

EXPERIMENTS.add(
    "dcsn-table-12",
    Experiment(
        id="dcsn-table-12",
        title="Which σ selects the best set, 1 to 9",
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
