"""dcsn.txt Tables 6 and 10: tune on one data set, and measure it and three others.

O-LoRA has no earlier task to be orthogonal to here, and is plain LoRA. The paper says that data
which need two capabilities are tuned on the union of both sets (its §3.4): a block names on what
the sets are located.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import AVERAGE, Cell, Row, add_holm, cell, only
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.code_sets import measurable
from brodmann.experiments.enhancing import (
    METHODS,
    Pairs,
    Schedule,
    contrast_cell,
    paired,
    pooled_cell,
    tune,
    unless_tuning_shows_nothing,
)
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.seen import seen_in_training
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

ORIGINAL, RANDOM, LORA, ALL, LOCATED = "Original", "FT-Random", "O-LoRA", "FT-All", "FT-Cap"
POOLED, FIT, OTHERS = "All data sets", "Fit", "Others"


@dataclass(frozen=True, kw_only=True)
class Block:
    """What is tuned on, and what it should carry over to.

    Attributes:
        name: as the paper calls the set that is tuned on.
        fit: its data spec.
        others: name -> data spec.
        located: on what the sets are located whose union is tuned; by default on ``fit``.
    """

    name: str
    fit: str
    others: Mapping[str, str]
    located: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FitAndCarryOver:
    """What to tune on and how.

    Attributes:
        blocks: one for each set that is tuned on.
        sigma: of the rule.
        n_located: examples to locate on; None takes all.
        n_test: examples of each set to answer; None takes all.
        schedule: of the tuning.
        not_worse: what the fit may lose to full tuning and still be called as good.
    """

    blocks: tuple[Block, ...]
    sigma: int | float = 6
    n_located: int | None
    n_test: int | None
    schedule: Schedule
    not_worse: float = 0.05


def run(config: FitAndCarryOver, bench: Workbench) -> Tables:
    """Tune on every block's set by every method, and measure all its sets."""
    cells, notes = list[Row](), list[Row]()
    pooled: dict[tuple[str, str], list[tuple[Evaluation, Evaluation]]] = {}
    for block in config.blocks:
        wanted = {block.name: block.fit, **block.others}
        samples = {name: Sample(spec, "test", config.n_test) for name, spec in wanted.items()}
        tests, left_out = measurable(bench, samples)
        seen = seen_in_training(
            bench,
            Sample(block.fit, "train", config.schedule.n_train + config.schedule.held_out),
            {name: test for name, test in tests.items() if name != block.name},
        )
        notes += [{"block": block.name, **note} for note in (*left_out, *seen)]
        neurons = _located(config, block, bench)
        answers, found = _answers(config, block, bench, neurons, tests)
        cells += found
        for name in (row for row in answers if row != LOCATED):
            for column, pairs in _pairs(block.name, answers[name], answers[LOCATED]).items():
                row = f"{LOCATED} - {name}"
                cells.append(contrast_cell(block.name, row, column, pairs, extra=True))
                pooled.setdefault((row, column), []).extend(pairs)
    add_holm([one for one in cells if one.get("p") is not None])
    cells += [
        contrast_cell(POOLED, row, column, pairs, extra=True)
        for (row, column), pairs in pooled.items()
    ]
    return {"cells": cells, "notes": notes}


def _located(config: FitAndCarryOver, block: Block, bench: Workbench) -> NeuronSet:
    sets = [
        bench.scores(Sample(spec, "train", config.n_located), target="first").select(
            sigma=config.sigma
        )
        for spec in block.located or (block.fit,)
    ]
    return reduce(or_, sets)


Answers = Mapping[str, Sequence[Evaluation]]
"""Column -> answers, one evaluation for each seed."""


def _answers(
    config: FitAndCarryOver,
    block: Block,
    bench: Workbench,
    neurons: NeuronSet,
    tests: Mapping[str, Sample],
) -> tuple[dict[str, Answers], list[Row]]:
    """Answers by row, and the cells of all accuracies; a row that cannot be is left empty."""
    answers: dict[str, Answers] = {}
    answers[ORIGINAL] = {name: [bench.answers(test)] for name, test in tests.items()}
    about: dict[str, Row] = {ORIGINAL: {}}
    for row in (RANDOM, LORA, ALL, LOCATED):
        samples = list(tests.values())
        tuned = tune(bench, METHODS[row], block.fit, neurons, samples, config.schedule)
        found = {} if tuned is None else tuned.answers
        answers[row] = {name: found[test] for name, test in tests.items() if test in found}
        about[row] = {"neurons": 0} if tuned is None else tuned.about
    cells = [
        pooled_cell(block.name, row, name, found[name], **about[row])
        if name in found
        else cell(block.name, row, name, None, unit="accuracy", **about[row])
        for row, found in answers.items()
        for name in tests
    ]
    return answers, cells


def _pairs(fit: str, one: Answers, other: Answers) -> dict[str, Pairs]:
    """Pair two rows' answers, on what was tuned on and on the other sets together."""
    found: dict[str, list[tuple[Evaluation, Evaluation]]] = {}
    for name in (name for name in one if name in other):
        column = FIT if name == fit else OTHERS
        found.setdefault(column, []).extend(paired(one[name], other[name]))
    return dict(found)


CLAIMS = {
    "carries_over": "tuning the located neurons raises accuracy on data that were not trained on "
    "more than tuning everything does (by 7.8 to 16.3 points in Table 6)",
    "fits": "it fits the data that it was tuned on as well as tuning everything does (35.0 "
    "against 38.7 on GSM8K): at most 5 points worse",
    "over_random": "it raises accuracy on other data more than tuning random neurons does",
}


def judge(tables: Mapping[str, Sequence[Cell]], config: FitAndCarryOver) -> list[Judged]:
    """Judge by the contrasts over all data sets, examples and seeds."""
    cells = tables["cells"]
    judged = []
    for claim, other, column, level in (
        ("carries_over", ALL, OTHERS, 0.0),
        ("fits", ALL, FIT, -config.not_worse),
        ("over_random", RANDOM, OTHERS, 0.0),
    ):
        row = f"{LOCATED} - {other}"
        found = only(cells, block=POOLED, row=row, column=column)
        told = above(claim, found, level, f"Accuracy of {row}, {column.lower()}")
        raised = only(cells, block=POOLED, row=f"{LOCATED} - {ORIGINAL}", column=column)
        wanted = (ORIGINAL, other, LOCATED)
        fits = {block.name for block in config.blocks}
        compared = [
            one
            for one in cells
            if one["row"] in wanted and one["column"] != AVERAGE and one["value"] is not None
            if one["block"] in fits and (one["column"] == one["block"]) == (column == FIT)
        ]
        judged.append(unless_tuning_shows_nothing(told, compared, raised))
    return judged


def _arithmetic(options: str) -> Block:
    suffix = f":{options}" if options else ""
    others = {"+&-": "add-sub", "+&*": "add-mul", "+&/": "add-div"}
    return Block(
        name="+",
        fit=f"arithmetic/add{suffix}",
        others={name: f"arithmetic/{part}{suffix}" for name, part in others.items()},
    )


def _family(name: str, fit: str, others: Mapping[str, str], *located: str) -> Block:
    return Block(name=name, fit=fit, others=others, located=located)


GSM8K = _family(
    "GSM8K",
    "gsm8k",
    {"Meta_Math": "metamath", "SVAMP": "svamp", "AMC": "amc"},
    "gsm8k",
    "emotion",
)
"""dcsn.txt §3.4: mathematics and language."""

CODE = _family("Code25K", "code25k", {"HumanEval": "humaneval", "MBPP": "mbpp", "APPS": "apps"})
EMOTION = _family(
    "Emotion",
    "emotion",
    {"Imdb": "imdb", "GoEmotions": "goemotions", "TweetEval": "tweeteval/sentiment"},
)

CPU_RATES = {"default": (1e-5,), "neurons": (1e-3,), "random": (1e-2,), "olora": (1e-3,)}
"""What docs/results.md found best on smollm2-135m; for whole weights the smaller, stable one."""

GRID = {
    "default": (1e-6, 1e-5, 1e-4),
    "neurons": (1e-4, 1e-3, 1e-2),
    "random": (1e-4, 1e-3, 1e-2),
    "olora": (1e-4, 1e-3),
}

_PLAIN = "template=plain,max=12"
PRESETS = {
    "smoke": FitAndCarryOver(
        blocks=(_arithmetic(_PLAIN),),
        sigma=2,
        n_located=8,
        n_test=2,
        schedule=Schedule(rates={"default": (1e-3,)}, n_train=8, steps=2, batch_size=4),
    ),
    "cpu": FitAndCarryOver(
        blocks=(_arithmetic(f"{_PLAIN},shots=2,repeat=true"),),
        n_located=64,
        n_test=40,
        schedule=Schedule(rates=CPU_RATES, n_train=96, steps=24, seeds=(0, 1)),
    ),
    "paper": FitAndCarryOver(
        blocks=(_arithmetic(""), GSM8K, CODE, EMOTION),
        n_located=None,
        n_test=None,
        schedule=Schedule(rates=GRID, n_train=700, steps=264, held_out=32, seeds=(0, 1, 2)),
    ),
}

_SMALL: dict[str, Any] = {
    "n_located": 48,
    "n_test": 12,
    "schedule": Schedule(rates=CPU_RATES, n_train=48, steps=12),
}
_MATH = _family(
    "GSM8K", "gsm8k", {"Meta_Math": "metamath", "SVAMP": "svamp"}, "gsm8k", "goemotions"
)
_SAMPLE = _family("GSM8K", "gsm8k:source=sample", {"SVAMP": "svamp:source=sample"})
_FEELINGS = _family("GoEmotions", "goemotions", {"TweetEval": "tweeteval/sentiment"})
OF_TABLE_10 = {
    "smoke": replace(
        PRESETS["smoke"],
        blocks=(_SAMPLE,),
        n_located=2,
        schedule=replace(PRESETS["smoke"].schedule, n_train=2),
    ),
    "cpu": replace(PRESETS["cpu"], blocks=(_MATH, _FEELINGS), **_SMALL),
    "paper": replace(PRESETS["paper"], blocks=(GSM8K,)),
}
"""On two cores what needs the public data sets stands in Table 10, so that Table 6 needs none."""

_MODELS = {
    "smoke": ("tiny-random",),
    "cpu": ("smollm2-135m",),
    "paper": ("meta-llama/Llama-2-7b-hf", "EleutherAI/gpt-j-6b"),
}


def _add(name: str, title: str, presets: Mapping[str, FitAndCarryOver], **more: Any) -> None:
    fixed: dict[str, Any] = {"claims": CLAIMS, "run": run, "judge": judge, "models": _MODELS}
    EXPERIMENTS.add(name, Experiment(id=name, title=title, presets=presets, **fixed | more))


_add("dcsn-table-6", "Tuning on one data set, and what carries over to others", PRESETS)
_add(
    "dcsn-table-10",
    "Tuning on GSM8K, and what carries over",
    OF_TABLE_10,
    models=_MODELS | {"paper": ("meta-llama/Meta-Llama-3-8B",)},
    needs="data sets",
)
