"""DCSN Tables 3 (sigma 6) and 11 (sigma 3): cohesion and separability of the operators' sets.

Both are ``|A∩B| / max(|A|, |B|)``, as Eq. 3 must mean (its denominator lacks the bars). The paper
leaves open which two sets the cohesion of one task compares; here these are the sets of two
disjoint samples (rows DG, TF, MQ), and the Chinese and the English set, over tasks (row CH).
Separability is between the sets of both samples together; the paper prints four of the six pairs.

Added: chance levels in each cell (random sets of these sizes, and with as many neurons in each
layer), intervals from resampled blocks of samples, specificity (within - across), and all of it for
the contrastive sets (an operator's scores minus the mean of the other operators').
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from brodmann.experiments.cells import AVERAGE, OPERATORS, Cell, Row, add_holm, only
from brodmann.experiments.claims import Judged, above, below
from brodmann.experiments.dcsn.likeness import (
    Likeness,
    Side,
    combined,
    likeness,
    likeness_cell,
    mean_of,
)
from brodmann.experiments.dcsn.operator_sets import (
    CPU,
    PAPER,
    RULES,
    SMOKE,
    VIEWS,
    Locating,
    operator_scores,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.map_resample import resampled_sets
from brodmann.experiments.map_sets import MapSet, select_sets, set_rows
from brodmann.experiments.workbench import Workbench

PAIRS = ("+&-", "+&*", "+&/", "*&/")
"""The pairs of operators that the paper prints."""

ALL = "All"
"""The mean over the rows of a block: what claims are judged by."""


@dataclass(frozen=True, kw_only=True)
class Table3Config:
    """Everything that decides the table, besides the model.

    Attributes:
        locating: on what, and how, the sets are located.
        resamples: bootstrap draws over blocks of samples.
    """

    locating: Locating
    resamples: int


@dataclass(frozen=True)
class Sides:
    """The sets of one view and rule: of each operator, its two samples' sets and the whole one."""

    first: Mapping[str, Side]
    second: Mapping[str, Side]
    whole: Mapping[str, Side]


def run(config: Table3Config, bench: Workbench) -> Tables:
    """Locate each operator by every task and language, and compare the sets."""
    scores = operator_scores(bench, config.locating, VIEWS)
    rules = config.locating.rules(config.resamples)
    sets = select_sets(scores, rules)
    drawn = {view: resampled_sets(scores[view], rules) for view in VIEWS}
    cells: list[Row] = []
    for suffix, rule in RULES.items():
        sides = {view: _sides(sets, drawn[view], view, rule) for view in VIEWS}
        cells += _rule_cells(sides, suffix)
    sizes = [site.parameters_per_neuron for site in bench.model.sites]
    total = sum(parameter.numel() for parameter in bench.model.hf.parameters())
    return {"cells": cells, "sets": set_rows(sets, sizes, total)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Table3Config) -> list[Judged]:
    """Judge by the means over all rows."""
    cells = tables["cells"]
    judged = []
    for suffix, name in (("", ""), (" (contrastive)", "contrastive_")):
        cohesion = only(cells, block=f"Cohesion{suffix}", row=ALL, column=AVERAGE)
        gap = only(cells, block=f"Specificity{suffix}", row=ALL, column=AVERAGE)
        ratio = only(cells, block=f"Separability / cohesion{suffix}", row=ALL, column=AVERAGE)
        chance = 0.0 if cohesion is None else cohesion.get("chance_layer_matched") or 0.0
        judged += [
            above(f"{name}cohesion", cohesion, 0.5, "Mean cohesion"),
            above(f"{name}beyond_chance", cohesion, chance, "Mean cohesion, and by chance"),
            above(f"{name}specific", gap, 0.0, "Mean of within - across"),
            below(f"{name}separability", ratio, 0.25, "Mean separability / mean cohesion"),
        ]
    return judged


def _sides(
    sets: Sequence[MapSet],
    draws: Mapping[tuple[str, str, str], list[frozenset[int]]],
    view: str,
    rule: str,
) -> Sides:
    own = [one for one in sets if one.variant == view and one.rule == rule]
    first, second, whole = (
        {
            one.capability: Side(neurons, draws[rule, one.capability, part], samples)
            for one in own
            for neurons in [one.neurons if which is None else one.halves[which]]
            for samples in [one.scores.n_samples // (1 if which is None else 2)]
        }
        for part, which in (("half 0", 0), ("half 1", 1), ("whole", None))
    )
    return Sides(first, second, whole)


def _rule_cells(sides: Mapping[str, Sides], suffix: str) -> list[Row]:
    """All cells of one rule; those of the contrastive sets are not the paper's."""
    extra: dict[str, Any] = {"extra": True} if suffix else {}
    compared = {view: (sides[view].first, sides[view].second) for view in ("DG", "TF", "MQ")}
    compared["CH"] = (sides["CH"].whole, sides["EN"].whole)
    within = {row: _within(*pair) for row, pair in compared.items()}
    across = {row: _across(*pair) for row, pair in compared.items()}
    apart = {row: _pairs(sides[row].whole) for row in ("DG", "MQ", "TF", "CH", "EN")}
    cohesion = {row: mean_of(list(parts.values())) for row, parts in within.items()}
    printed = {row: mean_of([parts[p] for p in PAIRS]) for row, parts in apart.items()}
    cells = _block(f"Cohesion{suffix}", within, cohesion, extra)
    cells += _block(f"Separability{suffix}", apart, printed, extra)
    add_holm(cells, "p_layer_matched")
    cells += _specificity(f"Specificity{suffix}", within, across)
    return cells + _ratios(f"Separability / cohesion{suffix}", printed, cohesion)


def _within(a: Mapping[str, Side], b: Mapping[str, Side]) -> dict[str, Likeness]:
    return {sign: likeness(a[name], b[name]) for name, sign in OPERATORS.items()}


def _across(a: Mapping[str, Side], b: Mapping[str, Side]) -> dict[str, Likeness]:
    """Of each operator with the others, both ways, at the sample sizes of :func:`_within`."""
    return {
        sign: mean_of(
            [likeness(a[name], b[other]) for other in OPERATORS if other != name]
            + [likeness(a[other], b[name]) for other in OPERATORS if other != name]
        )
        for name, sign in OPERATORS.items()
    }


def _pairs(whole: Mapping[str, Side]) -> dict[str, Likeness]:
    return {
        f"{OPERATORS[a]}&{OPERATORS[b]}": likeness(whole[a], whole[b])
        for a, b in combinations(OPERATORS, 2)
    }


def _block(
    block: str,
    rows: Mapping[str, Mapping[str, Likeness]],
    averages: Mapping[str, Likeness],
    extra: Mapping[str, Any],
) -> list[Row]:
    """A row's cells with their average; then the mean of the averages."""
    cells = []
    for row, parts in rows.items():
        for column, found in parts.items():
            unprinted: dict[str, Any] = (
                {"extra": True} if "&" in column and column not in PAIRS else {}
            )
            cells.append(likeness_cell(block, row, column, found, **{**extra, **unprinted}))
        cells.append(likeness_cell(block, row, AVERAGE, averages[row], **extra))
    overall = mean_of(list(averages.values()))
    return [*cells, likeness_cell(block, ALL, AVERAGE, overall, extra=True)]


def _specificity(
    block: str,
    within: Mapping[str, Mapping[str, Likeness]],
    across: Mapping[str, Mapping[str, Likeness]],
) -> list[Row]:
    """Within - across, of each row and operator: the same samples, so sizes do not decide."""
    cells, averages = [], []
    for row, parts in within.items():
        gaps = {sign: combined(parts[sign], across[row][sign], _minus) for sign in parts}
        averages.append(
            combined(mean_of(list(parts.values())), mean_of(list(across[row].values())), _minus)
        )
        for column, gap in [*gaps.items(), (AVERAGE, averages[-1])]:
            cells.append(_gap_cell(block, row, column, gap))
    overall = combined(
        mean_of([one for parts in within.values() for one in parts.values()]),
        mean_of([one for parts in across.values() for one in parts.values()]),
        _minus,
    )
    return [*cells, _gap_cell(block, ALL, AVERAGE, overall)]


def _gap_cell(block: str, row: str, column: str, gap: Likeness) -> Row:
    return likeness_cell(block, row, column, gap, unit="change", bounds=(-1.0, 1.0), extra=True)


def _ratios(
    block: str, separability: Mapping[str, Likeness], cohesion: Mapping[str, Likeness]
) -> list[Row]:
    both = {row: (separability[row], cohesion[row]) for row in separability if row in cohesion}
    both[ALL] = (mean_of(list(separability.values())), mean_of(list(cohesion.values())))
    return [
        likeness_cell(
            block,
            row,
            AVERAGE,
            combined(apart, within, _over),
            unit="ratio",
            bounds=(0.0, float("inf")),
            extra=True,
        )
        for row, (apart, within) in both.items()
    ]


def _minus(a: float, b: float) -> float:
    return a - b


def _over(a: float, b: float) -> float:
    return a / b if b else float("nan")


CLAIMS = {
    "cohesion": "Sets of two samples of one operator share more than half of the larger set, on "
    "average over tasks and languages (the paper: 94.3%).",
    "beyond_chance": "They share more than random sets with as many neurons in each layer.",
    "specific": "Two samples of one operator share more than samples of two operators.",
    "separability": "Sets of two operators share less than a quarter of what two samples of one "
    "operator share (the paper: 3.6% of 94.3%).",
}
CLAIMS |= {
    f"contrastive_{name}": f"Of the contrastive sets: {text[0].lower()}{text[1:]}"
    for name, text in CLAIMS.items()
}

PRESETS = {
    "smoke": Table3Config(locating=SMOKE, resamples=4),
    "cpu": Table3Config(locating=CPU, resamples=200),
    "paper": Table3Config(locating=PAPER, resamples=200),
}
MODELS = {
    "smoke": ("tiny-random",),
    "cpu": ("smollm2-135m",),
    "paper": ("meta-llama/Llama-2-7b-hf", "EleutherAI/gpt-j-6b", "meta-llama/Meta-Llama-3-8B"),
}

EXPERIMENTS.add(
    "dcsn-table-3",
    Experiment(
        id="dcsn-table-3",
        title="Cohesion and separability by task and language",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
    ),
)
EXPERIMENTS.add(
    "dcsn-table-11",
    Experiment(
        id="dcsn-table-11",
        title="Cohesion and separability by task and language, sigma 3",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets={
            name: replace(one, locating=replace(one.locating, sigma=3))
            for name, one in PRESETS.items()
        },
        models=MODELS,
    ),
)
