"""DCSN Table 5: erase each operator's set, test each operator.

The paper erases the strongest tenth of each set and reports that addition suffers when the set of
subtraction goes, its inverse, and hardly when those of multiplication or division do. Beside that:
whole sets, contrastive sets, layer-matched random sets for every pair, the margin (nats) in each
cell, neutral text, and growing parts of each operator's own set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.experiments.cells import (
    OPERATORS,
    Cell,
    Row,
    accuracy_cell,
    add_holm,
    cell,
    change_cell,
    find,
    only,
)
from brodmann.experiments.check_values import check_least
from brodmann.experiments.claims import (
    Judged,
    below,
    unless_at_floor,
    unless_random_sets_do_it_too,
)
from brodmann.experiments.dcsn.erased_operators import neutral_cells
from brodmann.experiments.dcsn.operator_sets import (
    CPU,
    PAPER,
    SMOKE,
    Locating,
    operator_sets,
    spec_of,
)
from brodmann.experiments.dcsn.whose_set import (
    ALL,
    INVERSE_OTHERS,
    OWN_OTHERS,
    OWN_RANDOM,
    Matrix,
    contrast_cells,
)
from brodmann.experiments.erasing import Erasure, erase_and_compare
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.map_sets import MapSet
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet


@dataclass(frozen=True, kw_only=True)
class Table5Config:
    """Everything that decides the table, besides the model.

    Attributes:
        locating: on what, and how, the sets are located.
        test_options: options of the data specs that are tested; only expressions are independent.
        items: examples of each operator to test.
        parts: which sets: the rule and the strongest fraction of them.
        draws: layer-matched random sets beside each set, on its own operator.
        other_draws: how many of them are tested on the other operators, too.
        norm_draws: random sets matched by activation norm besides, on its own operator.
        neutral_draws: how many of them read neutral text.
        doses: which fractions of each operator's own (raw) set are erased.
        dose_draws: random sets of each.
    """

    locating: Locating
    test_options: str
    items: int | None
    parts: tuple[tuple[str, float], ...]
    draws: int
    other_draws: int
    norm_draws: int
    neutral_draws: int
    doses: tuple[float, ...]
    dose_draws: int

    def __post_init__(self) -> None:
        check_least(self, items=1, draws=1, other_draws=1, norm_draws=0, neutral_draws=0)
        check_least(self, dose_draws=1)

    def test(self, operator: str) -> Sample:
        """Return what of an operator is to be answered."""
        return Sample(spec_of(operator, self.test_options), "test", self.items, self.locating.seed)


def run(config: Table5Config, bench: Workbench) -> Tables:
    """Erase and answer."""
    located = operator_sets(bench, config.locating)
    base = {name: bench.answers(config.test(name)) for name in OPERATORS}
    cells: list[Row] = [
        accuracy_cell("Original", "Accuracy", OPERATORS[name], found, extra=True)
        for name, found in base.items()
    ]
    own = config.draws, config.norm_draws
    for rule, fraction in config.parts:
        suffix = suffix_of(rule, fraction)
        sets = {one.capability: strongest(one, fraction) for one in located[rule]}
        erasures = {
            (erased, tested): _erasure(config, bench, neurons, tested, *draws)
            for erased, neurons in sets.items()
            if len(neurons)
            for tested in OPERATORS
            for draws in [own if erased == tested else (config.other_draws, 0)]
        }
        cells += _matrix_cells(erasures, sets, f"Erase{suffix}", {"extra": True} if suffix else {})
        cells += contrast_cells(erasures, f"Contrasts{suffix}")
        cells += neutral_cells(bench, sets, config.neutral_draws, suffix)
    return {"cells": cells + _dose_cells(config, bench, located["raw"])}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table5Config) -> list[Judged]:
    """Judge the strongest tenth, as the paper erases it, and the whole contrastive sets."""
    cells = tables["cells"]
    base = find(cells, block="Original", row="Accuracy")
    judged = []
    for suffix, name in ((suffix_of("raw", 0.1), ""), (suffix_of("contrast", 1.0), "contrastive_")):

        def found(row: str, column: str, block: str = f"Contrasts{suffix}") -> Cell | None:
            return only(cells, block=block, row=row, column=column)

        judged += [
            below(
                f"{name}inverse",
                found("1-OP (+)", INVERSE_OTHERS),
                0.0,
                "Change of + when the set of - goes, less that when those of * and / go",
            ),
            below(f"{name}specific", found(ALL, OWN_OTHERS), 0.0, "Own set, less the others'"),
            unless_random_sets_do_it_too(
                below(f"{name}relevant", found(ALL, OWN_RANDOM), 0.0, "Own set, less random sets"),
                found(ALL, OWN_RANDOM),
            ),
        ]
    plus = find(base, column="+")
    return [unless_at_floor(one, plus if one[0].endswith("inverse") else base) for one in judged]


def suffix_of(rule: str, fraction: float) -> str:
    """Return what blocks of a part's cells end with; nothing for what the paper erases."""
    told = ["contrastive"] if rule == "contrast" else []
    told += [] if fraction == 0.1 else ["whole set" if fraction == 1 else f"{fraction:g} of it"]
    return f" ({', '.join(told)})" if told else ""


def strongest(one: MapSet, fraction: float) -> NeuronSet:
    """Return the strongest part of a set; an empty set stays empty."""
    return one.neurons.strongest(one.scores, fraction) if len(one.neurons) else one.neurons


def _erasure(
    config: Table5Config,
    bench: Workbench,
    neurons: NeuronSet,
    tested: str,
    draws: int,
    norm_draws: int,
) -> Erasure:
    return erase_and_compare(
        bench,
        neurons,
        config.test(tested),
        draws=draws,
        norm_draws=norm_draws,
        seed=config.locating.seed,
    )


def _matrix_cells(
    erasures: Matrix, sets: Mapping[str, NeuronSet], block: str, mark: dict[str, Any]
) -> list[Row]:
    """Changes of accuracy, 16 of them; p by McNemar's test, and among random sets; Holm's."""
    cells = []
    for tested, sign in OPERATORS.items():
        for erased, column in OPERATORS.items():
            place = (block, f"1-OP ({sign})", column)
            told = mark | {"neurons": len(sets[erased])}
            erasure = erasures.get((erased, tested))
            if erasure is None:
                cells.append(cell(*place, None, unit="change", **told))
            else:
                more = told | _beside(erasure)
                cells.append(change_cell(*place, erasure.change(), **more))
    for key in ("p", "p_random"):
        add_holm(cells, key)
    return cells


def _beside(erasure: Erasure) -> dict[str, Any]:
    """What random sets do, where the located set stands among them, and the margin."""
    random, standing = erasure.random_changes(), erasure.standing()
    margin, margin_standing = erasure.change("margin"), erasure.standing("margin")
    return {
        "margin_change": margin.mean,
        "margin_change_low": margin.interval[0],
        "margin_change_high": margin.interval[1],
        "margin_rank": margin_standing.rank,
        "random": sum(random) / len(random),
        "random_worst": min(random),
        "draws": standing.draws,
        "rank": standing.rank,
        "p_random": standing.p,
    }


def _dose_cells(config: Table5Config, bench: Workbench, sets: Sequence[MapSet]) -> list[Row]:
    """Growing parts of each operator's own set, the strongest neurons first."""
    cells = []
    for one in (one for one in sets if len(one.neurons)):
        for dose in config.doses:
            neurons = strongest(one, dose)
            erasure = _erasure(config, bench, neurons, one.capability, config.dose_draws, 0)
            row = f"1-OP ({OPERATORS[one.capability]})"
            told: dict[str, Any] = {"neurons": len(neurons), "extra": True, **_beside(erasure)}
            cells.append(change_cell("Dose", row, f"{dose:g}", erasure.change(), **told))
    return cells


CLAIMS = {
    "inverse": "Erasing the strongest tenth of the set of - lowers the accuracy of + by more than "
    "erasing that of * or of / does, on average of the two (the paper: 6.3 points against 0.1 and "
    "0.2).",
    "specific": "Erasing the strongest tenth of an operator's own set lowers its accuracy by more "
    "than erasing another operator's (the paper: about 20 points against 0 to 6).",
    "relevant": "Erasing the strongest tenth of an operator's own set lowers its accuracy by more "
    "than erasing random sets of as many neurons in each layer.",
}
CLAIMS |= {
    f"contrastive_{name}": text.replace("the strongest tenth of ", "").replace(
        "set", "whole set", 1
    )
    + " (Contrastive sets.)"
    for name, text in CLAIMS.items()
}

_EVERY = (("raw", 0.1), ("raw", 1.0), ("contrast", 0.1), ("contrast", 1.0))
PRESETS = {
    "smoke": Table5Config(
        locating=SMOKE,
        test_options=SMOKE.options,
        items=4,
        parts=(("raw", 0.1), ("contrast", 1.0)),
        draws=1,
        other_draws=1,
        norm_draws=1,
        neutral_draws=1,
        doses=(0.5,),
        dose_draws=1,
    ),
    "cpu": Table5Config(
        locating=CPU,
        test_options=f"{CPU.options},repeat=true",
        items=24,
        parts=(("raw", 0.1), ("raw", 1.0), ("contrast", 1.0)),
        draws=20,
        other_draws=2,
        norm_draws=5,
        neutral_draws=3,
        doses=(0.1, 0.25, 0.5, 1.0),
        dose_draws=3,
    ),
    "paper": Table5Config(
        locating=PAPER,
        test_options="",
        items=None,
        parts=_EVERY,
        draws=99,
        other_draws=99,
        norm_draws=20,
        neutral_draws=20,
        doses=(0.1, 0.25, 0.5, 0.75, 1.0),
        dose_draws=20,
    ),
}

EXPERIMENTS.add(
    "dcsn-table-5",
    Experiment(
        id="dcsn-table-5",
        title="Erasing the inverse operator's neurons",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models={
            "smoke": ("tiny-random",),
            "cpu": ("smollm2-135m",),
            "paper": ("meta-llama/Meta-Llama-3-8B",),
        },
    ),
)
