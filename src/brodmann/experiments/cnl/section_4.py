"""cnl-section-4: one expression, asked for its value and asked for as code; which neurons agree?

The paper compares a mean over pairs of requests (one expression, two tasks) with what all 1,000
requests of a task have in common (Eq. 6), and the second is the smaller by its definition. Here
every kind of pair is averaged in the same way, so that three things can be told apart: the
expression (same expression, different task), the task (same task, different expression), and what
any two requests share (both different). Eq. 6 stands beside them as it is printed.

All programs begin with ``print(``, and requests with one value begin alike. So a control asks for
programs that begin with the value, takes the neurons of the first answer token only, and compares
with different expressions whose answers have the same first token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brodmann.data import DataSpec
from brodmann.errors import InputError
from brodmann.evaluate import permutation_p
from brodmann.experiments.cells import Cell, Row, accuracy_cell, cell, only
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.cnl.alike import Alike, alike, core_share
from brodmann.experiments.cnl.decoupled import Kinds, Requests, kinds_of
from brodmann.experiments.cnl.own_sets import neuron_universe, own_sets
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.map_resample import shifted_interval
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.localize.targets import readings
from brodmann.neurons.similarity import max_ratio_of

BLOCK, PAIRS, CONTRASTS = "Coincidence", "Pairs of requests", "Contrasts"
CONTROL, CORES = "First answer token", "Core of fewer requests"
EXPRESSION = "same expression, different task"
TASK = "different expression, same task"
NEITHER = "different expression, different task"
SUBSAMPLES = ("subsample 1", "subsample 2")
"""The requests for the value, and those for code, as the paper calls them."""

MAIN = "CNL's rule"
RULES: Mapping[str, Mapping[str, Any]] = {MAIN: {"sigma": 6}, "KN's rule": {"t": 0.2}}
"""Column -> how one request's neurons are selected: the claims are judged by the first."""

CLAIMS = {
    "expression": "Two requests for one expression, for its value and for code, share more neurons "
    "than two requests of these tasks for different expressions: individual knowledge leaves a "
    "trace (against the paper, for which it cannot be localised).",
    "task": "Two requests of one task for different expressions share more neurons than two "
    "requests for one expression of different tasks: what data have in common leaves the larger "
    "trace (the paper's conclusion; its own numbers, 15.6 between and 7.3 and 8.6 within "
    "subsamples, are not comparable).",
    "beyond-token": "Two requests for one expression still share more neurons than requests for "
    "different expressions where all four answers begin with the same token: it is not the answer "
    "token that they share.",
}


@dataclass(frozen=True, kw_only=True)
class Section4:
    """Values of cnl-section-4.

    Attributes:
        data: the decoupling set, with its options.
        expressions: how many, each asked for twice.
        steps: gradient evaluations of each integral.
        quadrature: its rule.
        permutations: of the pairing of requests.
        seed: of the data and all draws.
    """

    data: str = "decoupling"
    expressions: int = 1000
    steps: int = 20
    quadrature: str = "gauss-legendre"
    permutations: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        if self.expressions < 2:
            raise InputError(f"Expected two expressions or more; got {self.expressions}.")


def run(config: Section4, bench: Workbench) -> Tables:
    """Locate on every request, and compare every two of them."""
    whole = _requests(config, bench, DataSpec.parse(config.data), "mean")
    begun = DataSpec.parse(config.data).with_options(code="assert")
    control = _requests(config, bench, begun, "first")
    cells: list[Row] = []
    for column, sets in whole.sets.items():
        likeness = _alike(config, bench, whole, sets)
        cells += _coincidence(config, column, whole, sets, likeness)
        cells += _pairs(config, column, whole, likeness)
        again = _alike(config, bench, control, control.sets[column])
        cells += _controlled(column, control, again)
    cells += [
        accuracy_cell("Accuracy", name, "all", bench.answers(sample), extra=True)
        for name, sample in zip(SUBSAMPLES, whole.samples, strict=True)
    ]
    return {"cells": cells, "sets": _set_rows(whole)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Section4) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    cells = tables["cells"]

    def of(block: str, row: str) -> Cell | None:
        return only(cells, block=block, row=row, column=MAIN)

    return [
        above("expression", of(CONTRASTS, "expression"), 0, "Same minus different expression, "
              "different tasks"),
        above("task", of(CONTRASTS, "task - expression"), 0, "Same task minus same expression"),
        above("beyond-token", of(CONTROL, "expression"), 0, "Same minus different expression with "
              "the same first token, different tasks"),
    ]  # fmt: skip


def _requests(config: Section4, bench: Workbench, spec: DataSpec, target: str) -> Requests:
    """Locate on each request of both tasks."""
    samples = tuple(
        Sample(str(DataSpec(spec.name, task, spec.options)), "all", config.expressions, config.seed)
        for task in ("answer", "code")
    )
    examples = [one for sample in samples for one in bench.examples(sample)]
    options = {
        "steps": config.steps, "quadrature": config.quadrature, "refine": False, "target": target,
    }  # fmt: skip
    sets = own_sets(bench, examples, "cnl", options, RULES)
    first = readings(bench.model, examples, target="first", chat_template="off")
    tokens = [reading.targets[0] for reading in first]
    right = [bool(row["correct"]) for row in bench.answers(samples[0]).rows]
    return Requests(samples, tuple(e.meta["expression"] for e in examples), sets, tokens, right)


def _alike(
    config: Section4, bench: Workbench, requests: Requests, sets: Sequence[frozenset[int]]
) -> Alike:
    universe = neuron_universe(bench)
    return alike(sets, universe, requests.units, measure="max", seed=config.seed)


def _coincidence(
    config: Section4,
    column: str,
    requests: Requests,
    sets: Sequence[frozenset[int]],
    likeness: Alike,
) -> list[Row]:
    """Eq. 6: the mean over pairs between the subsamples, the core of all within each."""
    block = BLOCK if column == MAIN else f"{BLOCK}, {column}"
    more = {} if column == MAIN else {"extra": True}
    kinds = kinds_of(requests)
    between = likeness.rate(kinds.expression)
    tested = permutation_p(between.value, _shuffled(likeness, requests.n, config))
    cells = [between.cell(block, *SUBSAMPLES, p=tested.p, rank=tested.rank, **more)]
    for which, name in enumerate(SUBSAMPLES):
        own = sets[which * requests.n : (which + 1) * requests.n]
        low, high = shifted_interval(core_share(own), _core_draws(own, config))
        cells.append(cell(block, name, name, _known(core_share(own)), low=low, high=high,
                          unit="share", n=requests.n, **more))  # fmt: skip
        cells += [
            cell(CORES, f"{name}, {column}", f"{n}", _known(core_share(own[:n])), unit="share",
                 n=n, extra=True)
            for n in (2, 5, 10, 20, 50, 100, 1000) if n <= len(own)
        ]  # fmt: skip
    return cells


def _pairs(config: Section4, column: str, requests: Requests, likeness: Alike) -> list[Row]:
    """Each kind of pair, and the differences that decide; also where the value is known."""
    cells = _rates(PAIRS, CONTRASTS, column, likeness, kinds_of(requests))
    known = np.asarray(requests.right * 2, dtype=bool)
    if known[: requests.n].sum() > 1:
        kinds = kinds_of(requests, known[:, None] & known[None, :])
        cells += _rates(f"{PAIRS}, value known", f"{CONTRASTS}, value known", column, likeness,
                        kinds)  # fmt: skip
    kinds = kinds_of(requests)
    named = {
        "same first token": likeness.rate(kinds.values & kinds.same_token),
        "other first token": likeness.rate(kinds.values & ~kinds.same_token),
    }
    return cells + [
        rate.cell(PAIRS, f"{TASK}, {SUBSAMPLES[0]}, {name}", column, extra=True)
        for name, rate in named.items()
    ]


def _rates(block: str, contrasts: str, column: str, likeness: Alike, kinds: Kinds) -> list[Row]:
    expression, task, neither = (
        likeness.rate(which) for which in (kinds.expression, kinds.task, kinds.neither)
    )
    rows = {EXPRESSION: expression, TASK: task, NEITHER: neither}
    rows |= {
        f"{TASK}, {SUBSAMPLES[0]}": likeness.rate(kinds.values),
        f"{TASK}, {SUBSAMPLES[1]}": likeness.rate(kinds.task & ~kinds.values),
    }
    differences = {
        "expression": expression - neither,
        "task": task - neither,
        "task - expression": task - expression,
    }
    return [
        *(rate.cell(block, row, column, extra=True) for row, rate in rows.items()),
        *(rate.cell(contrasts, row, column, extra=True) for row, rate in differences.items()),
    ]


def _controlled(column: str, requests: Requests, likeness: Alike) -> list[Row]:
    """Same and different expressions, different tasks, with equal and unequal first tokens."""
    kinds = kinds_of(requests)
    rates = {
        EXPRESSION: likeness.rate(kinds.expression & kinds.same_token),
        f"{NEITHER}, same first token": likeness.rate(kinds.neither & kinds.same_token),
        f"{NEITHER}, other first token": likeness.rate(kinds.neither & ~kinds.same_token),
        f"{TASK}, same first token": likeness.rate(kinds.task & kinds.same_token),
        f"{TASK}, other first token": likeness.rate(kinds.task & ~kinds.same_token),
    }
    same, begun_alike, others, task, task_others = rates.values()
    rates |= {
        "expression": same - begun_alike,
        "first token": begun_alike - others,
        "task": task - begun_alike,
        "task, other first token": task_others - others,
        "task - expression": task - same,
    }
    return [rate.cell(CONTROL, row, column, extra=True) for row, rate in rates.items()]


def _shuffled(likeness: Alike, n: int, config: Section4) -> list[float]:
    """The mean over pairs where the programs are dealt to the expressions at random."""
    between = likeness.values[:n, n:]
    rng = np.random.default_rng([config.seed, 1])
    places = np.arange(n)
    return [
        float(np.nanmean(between[places, rng.permutation(n)])) for _ in range(config.permutations)
    ]


def _core_draws(sets: Sequence[frozenset[int]], config: Section4) -> list[float]:
    """The core of resampled requests; resamples repeat some, so their cores are the larger."""
    member: dict[int, list[int]] = {}
    for row, one in enumerate(sets):
        for element in one:
            member.setdefault(element, []).append(row)
    often = [rows for rows in member.values() if len(rows) > len(sets) / 3]
    rng = np.random.default_rng([config.seed, 2])
    found = []
    for _ in range(200):
        drawn = set(rng.integers(0, len(sets), len(sets)).tolist())
        largest = max(len(sets[row]) for row in drawn)
        found.append(max_ratio_of(sum(drawn <= set(rows) for rows in often), largest, 0))
    return found


def _set_rows(requests: Requests) -> list[Row]:
    return [
        {
            "expression": expression,
            "subsample": SUBSAMPLES[place >= requests.n],
            "rule": rule,
            "neurons": len(one),
        }
        for rule, sets in requests.sets.items()
        for place, (expression, one) in enumerate(zip(requests.expressions, sets, strict=True))
    ]


def _known(value: float) -> float | None:
    return None if value != value else value


PRESETS = {
    "smoke": Section4(data="decoupling:max=9", expressions=6, steps=2, permutations=19),
    "cpu": Section4(data="decoupling:max=9", expressions=24, steps=5),
    "paper": Section4(quadrature="paper"),
}
"""``cpu`` takes small numbers: a program has six tokens, and each is an integral of its own."""

EXPERIMENTS.add(
    "cnl-section-4",
    Experiment(
        id="cnl-section-4",
        title="Decoupling knowledge from capability",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models={
            "smoke": ("tiny-random",),
            "cpu": ("smollm2-135m",),
            "paper": ("EleutherAI/gpt-j-6b",),
        },
    ),
)
