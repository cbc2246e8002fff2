"""Tune one capability by several methods and seeds, and set their answers beside each other.

What the tables of tuning share: a schedule that is the same for every method but for the learning
rate, cells that pool the seeds, and paired contrasts over all examples and seeds.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from brodmann.evaluate import Difference, Evaluation, paired_difference
from brodmann.experiments.cells import (
    AVERAGE,
    Cell,
    Row,
    accuracy_cell,
    average_cell,
    change_cell,
    units,
)
from brodmann.experiments.claims import Judged, is_above_chance, told
from brodmann.experiments.learning_rate import best_rate
from brodmann.experiments.map_verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import WITHOUT_SET, Training
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

Pairs = Sequence[tuple[Evaluation, Evaluation]]
"""Answers to the same examples before and after, or by one model and another."""

METHODS = {
    "FT-Random": "random",
    "FT-w/o Cap": "without:freeze_located",
    "FT-All": "full",
    "O-LoRA": "olora",
    "FT-Cap": "neurons",
}
"""What dcsn.txt calls each method of tuning."""

UNTUNED = ("Original", "Base")
"""What the papers call the model as it is."""

CEILING = 0.99
"""The accuracy from which on a claim about a gain cannot be tested."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How every method is trained.

    Attributes:
        rates: method (without its mode) -> learning rates; one is taken as it is, of several
            the best is chosen by the held-out loss of the first seed. ``"default"`` is for the
            methods that are not named.
        n_train: examples to train on.
        steps: of the optimiser.
        batch_size: rows of a step.
        held_out: training examples that are kept back to choose by.
        seeds: of the order of rows, the random neurons and LoRA's start. The examples are the
            same: another split would train on test examples.
        rank: of LoRA.
        end_of_text: learn to stop behind the answer, too. A model that learns answers alone forgets
            what stands behind them: it goes on, and right answers count as wrong.
    """

    rates: Mapping[str, Sequence[float]]
    n_train: int
    steps: int
    batch_size: int = 8
    held_out: int = 0
    seeds: tuple[int, ...] = (0,)
    rank: int = 8
    end_of_text: bool = True

    def training(self, method: str, spec: str, neurons: NeuronSet | None) -> Training:
        """Return a method's training with the first seed; its rate is still to be chosen."""
        return Training(
            method=method,
            sample=Sample(spec, "train", self.n_train + self.held_out),
            neurons=neurons,
            lr=0.0,
            steps=self.steps,
            batch_size=self.batch_size,
            seed=self.seeds[0],
            rank=self.rank,
            held_out=self.held_out,
            end_of_text=self.end_of_text,
        )


@dataclass(frozen=True)
class Tuned:
    """A method's models, one for each seed.

    Attributes:
        answers: test -> answers, one evaluation for each seed.
        about: what its cells tell: rate, counts, what the method has to say.
    """

    answers: Mapping[Sample, Sequence[Evaluation]]
    about: Row = field(default_factory=dict)


def tune(
    bench: Workbench,
    method: str,
    spec: str,
    neurons: NeuronSet,
    tests: Sequence[Sample],
    schedule: Schedule,
) -> Tuned | None:
    """Tune by one method with every seed, and measure each model.

    Args:
        bench: the model.
        method: a tuning method, with the mode behind a colon.
        spec: what to tune on; its train split.
        neurons: the located set.
        tests: what to measure.
        schedule: how.

    Returns:
        The answers; None where the method has to do with located neurons and there are none.
    """
    name = method.partition(":")[0]
    if name not in WITHOUT_SET and not len(neurons):
        return None
    first = schedule.training(method, spec, None if name in WITHOUT_SET else neurons)
    rates = schedule.rates.get(name, schedule.rates["default"])
    first = replace(first, lr=best_rate(bench, first, rates)[0])
    made = [bench.tuned(replace(first, seed=seed), tests) for seed in schedule.seeds]
    told = made[0][0]
    about = {"lr": first.lr, "seeds": len(made)}
    about |= {key: told[key] for key in ("neurons", "trained_parameters", "note")}
    return Tuned({test: [answers[test] for _, answers in made] for test in tests}, about)


def pooled_cell(block: str, row: str, column: str, runs: Sequence[Evaluation], **more: Any) -> Row:
    """Return an accuracy over the models of several seeds, or as ``Avg.`` over several tests too.

    The interval is over examples (expressions), whose answers by all models go together; what
    another seed would give shows in ``lowest`` and ``highest``.
    """
    if len(runs) == 1:
        return accuracy_cell(block, row, column, runs[0], **more)
    if column != AVERAGE:
        single = [one.accuracy for one in runs]
        more = {"lowest": min(single), "highest": max(single), **more}
    n = len({unit for one in runs for unit in units(one)})
    return average_cell(block, row, runs, **more) | {"column": column, "n": n}


def difference(pairs: Pairs, measure: str = "correct") -> Difference:
    """Compare paired answers, the second minus the first; each pair weighs the same."""
    return paired_difference(
        [value for one, _ in pairs for value in one.column(measure)],
        [value for _, other in pairs for value in other.column(measure)],
        groups=[unit for one, _ in pairs for unit in units(one)],
        parts=[number for number, (one, _) in enumerate(pairs) for _ in one.rows],
    )


def contrast_cell(block: str, row: str, column: str, pairs: Pairs, **more: Any) -> Row:
    """Return a paired change of accuracy, with its p and the change of the margin beside it."""
    beside = margin_beside(difference(pairs, "margin"))
    return change_cell(block, row, column, difference(pairs), **beside, **more)


def margin_beside(change: Difference) -> Row:
    """Write what happens to the margin (nats) into a cell about accuracy."""
    low, high = change.interval
    return {"margin_change": change.mean, "margin_change_low": low, "margin_change_high": high}


def paired(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Pairs:
    """Pair answers of two lists of models, seed by seed; a single one stands beside all."""
    longest = max(len(before), len(after))
    if not before or not after:
        return []
    left, right = (itertools.islice(itertools.cycle(one), longest) for one in (before, after))
    return list(zip(left, right, strict=True))


def unless_tuning_shows_nothing(
    judged: Judged, accuracies: Sequence[Cell], change: Cell | None
) -> Judged:
    """Withhold a verdict about tuned models where there was nothing to tell them apart by.

    That is when none of those compared is above chance, or the model as it is has nothing left to
    gain. Nor does a method raise accuracy more than others where it does not raise it at all: one
    whose learning rate harms less than that of another has not taught the model more.

    Args:
        judged: the verdict.
        accuracies: of all models that it compares, that of the untuned one among them.
        change: the accuracy of the tuned model minus that of the model as it is; None where it
            was not measured.
    """
    return _unless_not_raised(_unless_all_are_alike(judged, accuracies), change)


def _unless_all_are_alike(judged: Judged, cells: Sequence[Cell]) -> Judged:
    if not any(map(is_above_chance, cells)):
        why = "No model is above chance, tuned or not, so they cannot be told apart."
        return judged[0], UNDECIDED, f"{judged[2]} {why}"
    untuned = [one["value"] for one in cells if one["row"] in UNTUNED and one["value"] is not None]
    if untuned and min(untuned) >= CEILING:
        why = "The model as it is makes hardly a mistake, so that nothing can be gained."
        return judged[0], UNDECIDED, f"{judged[2]} {why}"
    return judged


def _unless_not_raised(judged: Judged, change: Cell | None) -> Judged:
    if judged[1] != SUPPORTED or change is None or change["low"] is None or change["low"] > 0:
        return judged
    verdict = NOT_SUPPORTED if change["high"] < 0 else UNDECIDED
    why = f"But tuning does not raise accuracy for certain ({told(change)})."
    return judged[0], verdict, f"{judged[2]} {why}"
