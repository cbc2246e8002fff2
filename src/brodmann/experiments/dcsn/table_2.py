"""dcsn.txt Table 2 (σ = 6), Table 9 (σ = 3), Tables 13 and 14 (larger models).

Locate each operator's neurons; tune them, random ones, all others, or everything, on that
operator; erase the strongest tenth of them, and all of them, beside random sets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import (
    AVERAGE,
    OPERATORS,
    Cell,
    Row,
    add_holm,
    cell,
    find,
    only,
)
from brodmann.experiments.check_values import check_among, check_least, check_share
from brodmann.experiments.claims import (
    Judged,
    above,
    below,
    unless_at_floor,
    unless_random_sets_do_it_too,
)
from brodmann.experiments.dcsn.erased_operators import LOCATED as ERASED
from brodmann.experiments.dcsn.erased_operators import erasure_cells, neutral_cells
from brodmann.experiments.enhancing import (
    METHODS,
    Schedule,
    contrast_cell,
    paired,
    pooled_cell,
    tune,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronScores, NeuronSet

ENHANCE, ERASE = "Enhancement", "Erasure"
ORIGINAL, RANDOM, REST, ALL, LOCATED = "Original", "FT-Random", "FT-w/o Cap", "FT-All", "FT-Cap"
OVER_RANDOM, OVER_REST = f"{LOCATED} - {RANDOM}", f"{LOCATED} - {REST}"
BEYOND_RANDOM = "Deactivate-Cap - Deactivate-Random"


@dataclass(frozen=True, kw_only=True)
class EnhanceErase:
    """What to tune and erase, and how much of it.

    Attributes:
        blocks: "Enhancement", "Erasure", or both.
        operators: which, by the names of our specs.
        data: options of the specs ``arithmetic/OPERATOR``.
        sigma: of the rule.
        n_located: examples to locate on; None takes all.
        n_test: examples of each operator to answer; None takes all.
        schedule: of the tuning.
        fraction: of the set that is erased, its strongest neurons (dcsn.txt erases 0.1).
        draws: random sets, matched by layer, beside each erased one.
        norm_draws: random sets matched by activation norm besides.
        neutral_draws: how many of them also read neutral text.
    """

    blocks: tuple[str, ...] = (ENHANCE, ERASE)
    operators: tuple[str, ...] = tuple(OPERATORS)
    data: str
    sigma: int | float = 6
    n_located: int | None
    n_test: int | None
    schedule: Schedule
    fraction: float = 0.1
    draws: int = 20
    norm_draws: int = 5
    neutral_draws: int = 3

    def __post_init__(self) -> None:
        check_among("block", self.blocks, (ENHANCE, ERASE))
        check_among("operator", self.operators, OPERATORS)
        check_least(self, n_located=1, n_test=1, draws=1, norm_draws=0, neutral_draws=0)
        check_share("fraction", self.fraction)

    def spec(self, operator: str) -> str:
        """Return the data spec of an operator."""
        return f"arithmetic/{operator}:{self.data}" if self.data else f"arithmetic/{operator}"

    def test(self, operator: str) -> Sample:
        """Return what of an operator is to be answered."""
        return Sample(self.spec(operator), "test", self.n_test)


Located = Mapping[str, tuple[NeuronScores, NeuronSet]]
"""Operator -> its scores and its set."""


def located(config: EnhanceErase, bench: Workbench) -> Located:
    """Locate every operator's neurons on its train split, by its first answer token."""
    found = {}
    for operator in config.operators:
        sample = Sample(config.spec(operator), "train", config.n_located)
        scores = bench.scores(sample, target="first")
        found[operator] = (scores, scores.select(sigma=config.sigma))
    return found


def run(config: EnhanceErase, bench: Workbench) -> Tables:
    """Tune and erase."""
    sets = located(config, bench)
    cells: list[Row] = []
    if ENHANCE in config.blocks:
        cells += enhancement(config, bench, {name: one for name, (_, one) in sets.items()})
    if ERASE in config.blocks:
        tests = {name: config.test(name) for name in config.operators}
        for fraction, suffix in ((config.fraction, ""), (1.0, " (whole set)")):
            parts = {n: _strongest(one, scores, fraction) for n, (scores, one) in sets.items()}
            cells += erasure_cells(
                bench, parts, tests, config.draws, config.norm_draws, ERASE, suffix
            )
            cells += neutral_cells(bench, parts, config.neutral_draws, suffix)
    counts = [
        {"operator": OPERATORS[name], "neurons": len(one), "share": one.share}
        for name, (_, one) in sets.items()
    ]
    return {"cells": cells, "sets": counts}


def _strongest(neurons: NeuronSet, scores: NeuronScores, fraction: float) -> NeuronSet:
    return neurons.strongest(scores, fraction) if len(neurons) else neurons


Answers = dict[str, Sequence[Evaluation]]
"""Operator -> answers, one evaluation for each seed; operators without neurons are left out."""


def enhancement(config: EnhanceErase, bench: Workbench, sets: Mapping[str, NeuronSet]) -> list[Row]:
    """Tune each operator by each method, and return all accuracies and contrasts."""
    base: Answers = {name: [bench.answers(config.test(name))] for name in sets}
    answers = {ORIGINAL: base}
    cells = _accuracies(ENHANCE, ORIGINAL, base, sets, {})
    for row in (RANDOM, REST, ALL, LOCATED):
        answers[row], about = tuned_operators(config, bench, sets, row)
        extra = {"extra": True} if row == ALL else {}
        cells += _accuracies(ENHANCE, row, answers[row], sets, about, **extra)
    contrasts = [
        one
        for row in answers
        if row != LOCATED
        for one in _contrasts(ENHANCE, f"{LOCATED} - {row}", answers[row], answers[LOCATED])
    ]
    add_holm([one for one in contrasts if one["column"] != AVERAGE])
    return cells + contrasts


def tuned_operators(
    config: EnhanceErase, bench: Workbench, sets: Mapping[str, NeuronSet], row: str
) -> tuple[Answers, dict[str, Row]]:
    """Tune each operator by one method on its own data, and let each model answer its operator.

    Returns:
        The answers, and what the method has to say of each operator.
    """
    answers: Answers = {}
    about: dict[str, Row] = {}
    for name, neurons in sets.items():
        test = config.test(name)
        tuned = tune(bench, METHODS[row], config.spec(name), neurons, [test], config.schedule)
        if tuned is not None:
            answers[name], about[name] = tuned.answers[test], tuned.about
    return answers, about


def _accuracies(
    block: str,
    row: str,
    answers: Answers,
    sets: Mapping[str, NeuronSet],
    about: Mapping[str, Row],
    **more: Any,
) -> list[Row]:
    cells = []
    for name in sets:
        if name in answers:
            told = about.get(name, {}) | more
            cells.append(pooled_cell(block, row, OPERATORS[name], answers[name], **told))
        else:
            none = {"neurons": 0, **more}
            cells.append(cell(block, row, OPERATORS[name], None, unit="accuracy", **none))
    if len(answers) == len(sets):
        every = [one for runs in answers.values() for one in runs]
        return [*cells, pooled_cell(block, row, AVERAGE, every, **more)]
    return [*cells, cell(block, row, AVERAGE, None, unit="accuracy", neurons=0, **more)]


def _contrasts(block: str, row: str, one: Answers, other: Answers) -> list[Row]:
    names = [name for name in one if name in other]
    pairs = {OPERATORS[name]: paired(one[name], other[name]) for name in names}
    if pairs:
        pairs[AVERAGE] = [pair for found in list(pairs.values()) for pair in found]
    return [contrast_cell(block, row, column, found, extra=True) for column, found in pairs.items()]


CLAIMS = {
    "over_random": "tuning the located neurons raises accuracy more than tuning as many random "
    "ones (66.9 against 48.3 in Table 2)",
    "over_rest": "tuning the located neurons raises accuracy more than tuning everything but "
    "them (66.9 against 52.8)",
    "harmful": "erasing the strongest tenth of the located neurons lowers accuracy more than "
    "erasing random sets of that size (by 20.7 against 0.1)",
}


def judge(tables: Mapping[str, Sequence[Cell]], config: EnhanceErase) -> list[Judged]:
    """Judge the claims of the blocks that were run."""
    cells = tables["cells"]
    judged = []
    if ENHANCE in config.blocks:
        raised = only(cells, block=ENHANCE, row=f"{LOCATED} - {ORIGINAL}", column=AVERAGE)
        for claim, row, other in (
            ("over_random", OVER_RANDOM, RANDOM),
            ("over_rest", OVER_REST, REST),
        ):
            found = only(cells, block=ENHANCE, row=row, column=AVERAGE)
            told = above(claim, found, 0, f"Accuracy of {row}, {_over(config.schedule)}")
            rows = (ORIGINAL, other, LOCATED)
            compared = [one for one in find(cells, block=ENHANCE) if one["row"] in rows]
            judged.append(unless_tuning_shows_nothing(told, compared, raised))
    if ERASE in config.blocks:
        found = only(cells, block=ERASE, row=BEYOND_RANDOM, column=AVERAGE)
        told = below("harmful", found, 0, "What erasing does beyond random sets, over all examples")
        place = only(cells, block=ERASE, row=ERASED, column=AVERAGE)
        told = unless_random_sets_do_it_too(told, place)
        base = [one for one in find(cells, block=ERASE, row=ORIGINAL) if one["column"] != AVERAGE]
        judged.append(unless_at_floor(told, base))
    return judged


def _over(schedule: Schedule) -> str:
    drawn = len(schedule.seeds)
    return f"over all examples, {drawn} seed{'s' * (drawn > 1)} (each its own random neurons)"


CPU_RATES = {"default": (1e-5,), "neurons": (1e-3,), "random": (1e-2,)}
"""What docs/results.md found best on smollm2-135m; for whole weights the smaller, stable one."""

GRID = {"default": (1e-6, 1e-5, 1e-4), "neurons": (1e-4, 1e-3, 1e-2), "random": (1e-4, 1e-3, 1e-2)}

PRESETS = {
    "smoke": EnhanceErase(
        operators=("add", "sub"),
        data="template=plain,max=12",
        sigma=2,
        n_located=8,
        n_test=4,
        schedule=Schedule(rates={"default": (1e-3,)}, n_train=8, steps=2, batch_size=4),
        draws=2,
        norm_draws=1,
        neutral_draws=1,
    ),
    "cpu": EnhanceErase(
        data="template=plain,shots=2,max=12,repeat=true",
        n_located=64,
        n_test=40,
        schedule=Schedule(rates=CPU_RATES, n_train=96, steps=24),
    ),
    "paper": EnhanceErase(
        data="",
        n_located=None,
        n_test=None,
        schedule=Schedule(rates=GRID, n_train=700, steps=264, held_out=32, seeds=(0, 1, 2)),
        draws=99,
        norm_draws=20,
        neutral_draws=20,
    ),
}


def _add(name: str, title: str, models: Mapping[str, tuple[str, ...]], **changes: Any) -> None:
    presets = {preset: replace(one, **changes) for preset, one in PRESETS.items()}
    blocks = presets["cpu"].blocks
    claims = {key: text for key, text in CLAIMS.items() if (key == "harmful") <= (ERASE in blocks)}
    if ENHANCE not in blocks:
        claims = {"harmful": CLAIMS["harmful"]}
    EXPERIMENTS.add(
        name,
        Experiment(
            id=name,
            title=title,
            claims=claims,
            run=run,
            judge=judge,
            presets=presets,
            models=models,
        ),
    )


_MODELS = {
    "smoke": ("tiny-random",),
    "cpu": ("smollm2-135m",),
    "paper": ("meta-llama/Llama-2-7b-hf", "EleutherAI/gpt-j-6b", "meta-llama/Meta-Llama-3-8B"),
}
"""Table 2 also names LLaMA-3-13B, which does not exist."""

_LARGER = _MODELS | {"cpu": ("gemma3-270m",), "paper": ("meta-llama/Llama-2-70b-hf",)}
"""Tables 13 and 14 also name LLaMA-2-30B, which does not exist."""

_add("dcsn-table-2", "Enhancing and erasing each operator's neurons, σ = 6", _MODELS)
_add("dcsn-table-9", "Enhancing and erasing each operator's neurons, σ = 3", _MODELS, sigma=3)
_add("dcsn-table-13", "Enhancing, larger models", _LARGER, blocks=(ENHANCE,))
_add("dcsn-table-14", "Erasing, larger models", _LARGER, blocks=(ERASE,))
