"""The trainings that cnl-table-2, cnl-table-5 and cnl-figure-5 share: each is done once.

Every model is measured on every data set, those that it was not trained on too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.evaluate import Evaluation
from brodmann.experiments.cells import Row
from brodmann.experiments.cnl import data_sets
from brodmann.experiments.cnl.halves import LocateConfig, locate_halves
from brodmann.experiments.code_sets import measurable
from brodmann.experiments.enhancing import Schedule, Tuned, tune
from brodmann.experiments.sample import Sample
from brodmann.experiments.seen import seen_in_training
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

RANDOM, REST, LOCATED = "Random", "W/o located", "Located"
METHODS = {RANDOM: "random", REST: "without:erase_then_tune_rest", LOCATED: "neurons"}


@dataclass(frozen=True, kw_only=True)
class Enhanced(LocateConfig):
    """What to tune; those of :class:`LocateConfig`, whose ``sigma`` is not used.

    Attributes:
        items: data set -> test items; these are answered by every model. Those that ``data``
            has are tuned on as well.
        sigmas: of the rule.
        epochs: how often a model sees the training examples.
        n_train: training examples.
        batch_size: rows of a step.
        held_out: further ones that are kept back, to choose a learning rate by.
        rates: name of a choice of learning rates -> method -> rates. The first has no name and
            decides the claims; those of others are told behind its blocks.
        seeds: of the order of rows and the random neurons.
        others: data set -> data spec: tested and not tuned on.
        end_of_text: learn to stop behind the answer, too.
    """

    items: Mapping[str, int]
    others: Mapping[str, str]
    sigmas: tuple[int | float, ...]
    epochs: tuple[int, ...]
    n_train: int
    batch_size: int = 8
    held_out: int = 0
    rates: Mapping[str, Mapping[str, Sequence[float]]]
    seeds: tuple[int, ...] = (0,)
    end_of_text: bool = True

    def schedule(self, epochs: int, rate: str) -> Schedule:
        """Return how a model is trained."""
        return Schedule(
            rates=self.rates[rate],
            n_train=self.n_train,
            steps=epochs * math.ceil(self.n_train / self.batch_size),
            batch_size=self.batch_size,
            held_out=self.held_out,
            seeds=self.seeds,
            end_of_text=self.end_of_text,
        )


@dataclass(frozen=True)
class Trained:
    """One method's models on one data set.

    Attributes:
        sigma, epochs, rate: see :class:`Enhanced`.
        row: the method, as the paper calls it.
        data: what was trained on.
        answers: data set -> answers, one evaluation for each seed; nothing where the rule
            selects no neurons.
        about: what its cells tell.
    """

    sigma: int | float
    epochs: int
    rate: str
    row: str
    data: str
    answers: Mapping[str, Sequence[Evaluation]]
    about: Row


def tests_of(config: Enhanced, bench: Workbench) -> tuple[dict[str, Sample], list[Row]]:
    """Return what every model answers, and notes on what is left out or was trained on."""
    tests, notes = _measurable(config, bench)
    for data, spec in config.data.items():
        others = {name: test for name, test in tests.items() if name != data}
        trained = Sample(spec, "train", config.n_train + config.held_out)
        notes += seen_in_training(bench, trained, others)
    return tests, notes


def _measurable(config: Enhanced, bench: Workbench) -> tuple[dict[str, Sample], list[Row]]:
    specs = {**config.data, **config.others}
    wanted = {n: Sample(specs[n], "test", items, config.seed) for n, items in config.items.items()}
    return measurable(bench, wanted)


def located_sets(config: Enhanced, bench: Workbench, sigma: int | float) -> dict[str, NeuronSet]:
    """Return the set of each data set that is tuned on."""
    return {n: one.scores.select(sigma) for n, one in locate_halves(config, bench).items()}


def trainings(
    config: Enhanced,
    bench: Workbench,
    *,
    sigmas: Sequence[int | float],
    epochs: Sequence[int],
    rates: Sequence[str],
    rows: Sequence[str] = tuple(METHODS),
) -> Iterator[Trained]:
    """Train and measure, or read what was measured before."""
    tests, _ = _measurable(config, bench)
    for sigma in sigmas:
        sets = located_sets(config, bench, sigma)
        for count in epochs:
            for rate in rates:
                schedule = config.schedule(count, rate)
                for row in rows:
                    for data, neurons in sets.items():
                        made = tune(
                            bench,
                            METHODS[row],
                            config.data[data],
                            neurons,
                            list(tests.values()),
                            schedule,
                        )
                        yield _trained((sigma, count, rate, row, data), made, tests)


def _trained(what: tuple[Any, ...], made: Tuned | None, tests: Mapping[str, Sample]) -> Trained:
    if made is None:
        return Trained(*what, answers={}, about={"neurons": 0})
    answers = {name: made.answers[test] for name, test in tests.items()}
    return Trained(*what, answers=answers, about=made.about)


GRID = {"default": (1e-6, 1e-5, 1e-4), "neurons": (1e-4, 1e-3, 1e-2), "random": (1e-4, 1e-3, 1e-2)}

_SMOKE = {name: data_sets.SMOKE[name] for name in ("GSM8K", "Emotion")}
_LOCATING = {
    "smoke": data_sets.SMOKE_LOCATING,
    "cpu": data_sets.CPU_LOCATING,
    "paper": data_sets.PAPER_LOCATING,
}
_CPU_ITEMS = {"GSM8K": 8, "GoEmotions": 24, "CodeXGLUE": 8, "Meta_Math": 8, "TweetEval": 24}


def _others(every: Mapping[str, str], tuned: Mapping[str, str]) -> dict[str, str]:
    return {name: spec for name, spec in every.items() if name not in tuned}


PRESET_VALUES: dict[str, dict[str, Any]] = {
    "smoke": {
        "data": _SMOKE,
        "others": {},
        "items": dict.fromkeys(_SMOKE, 2),
        "sigmas": (2,),
        "epochs": (1,),
        "n_train": 4,
        "batch_size": 2,
        "rates": {"": {"default": (1e-3,)}},
        **_LOCATING["smoke"],
    },
    "cpu": {
        "data": data_sets.CPU_TESTED,
        "others": _others(data_sets.CPU, data_sets.CPU_TESTED),
        "items": _CPU_ITEMS,
        "sigmas": (6,),
        "epochs": (1, 5),
        "n_train": 16,
        "batch_size": 4,
        "rates": {"": {"default": (1e-5,), "neurons": (1e-3,), "random": (1e-2,)}},
        **_LOCATING["cpu"],
    },
    "paper": {
        "data": data_sets.PAPER_TESTED,
        "others": _others(data_sets.PAPER, data_sets.PAPER_TESTED),
        "items": {"GSM8K": 1319, "Emotion": 2000, "Code25K": 1000, "Meta_Math": 500, "Imdb": 1000},
        "sigmas": (3, 6),
        "epochs": (1, 5, 10),
        "n_train": 1000,
        "held_out": 32,
        "rates": {"": {"default": (1e-5,)}, ", chosen rate": GRID},
        "seeds": (0, 1, 2),
        **_LOCATING["paper"],
    },
}
"""At the paper's rate of 1e-5 a few steps move 0.15% of the neurons nowhere: ``cpu`` has the rates
that docs/results.md found best on smollm2-135m instead, and one σ; its GSM8K is slow."""
