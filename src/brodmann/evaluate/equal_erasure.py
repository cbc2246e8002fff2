"""Erase as many neurons of each set, and measure: which method found those that matter most."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from brodmann.data.example import Example
from brodmann.errors import InputError
from brodmann.evaluate.controls import random_sets
from brodmann.evaluate.evaluate import evaluate
from brodmann.evaluate.evaluation import Evaluation
from brodmann.evaluate.statistics import permutation_p
from brodmann.interventions import erased
from brodmann.interventions.belongs import check_neurons
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.progress import progress

MEASURES = {"d_accuracy": "correct", "d_margin": "margin"}
"""The effects, and the column of an evaluation's rows that each is a change of."""


@dataclass(frozen=True, eq=False)
class Part:
    """The strongest neurons of a set.

    Attributes:
        name: of the set.
        neurons: the strongest.
        whole: the set.
    """

    name: str
    neurons: NeuronSet
    whole: NeuronSet


def equal_parts(
    sets: Sequence[tuple[str, NeuronSet]], scores: Mapping[str, NeuronScores]
) -> list[Part]:
    """Take of each set as many neurons as the smallest has: those with the largest ``|score|``.

    Args:
        sets: names and sets of one model.
        scores: by the same names; a set that is taken whole needs none.

    Raises:
        InputError: when a set is empty, or a larger one has no scores.
        MismatchError: when scores and set belong to different models.
    """
    for name, neurons in sets:
        if not len(neurons):
            raise InputError(
                f"Expected sets of one neuron or more to erase as many of each; {name} is empty. "
                "Leave it out, or locate with a smaller --sigma or with --top."
            )
    size = min(len(neurons) for _, neurons in sets)
    return [Part(name, _strongest(name, whole, size, scores), whole) for name, whole in sets]


def equal_erasure(
    model: LanguageModel,
    parts: Sequence[Part],
    examples: Sequence[Example],
    *,
    draws: int = 20,
    batch_size: int | Literal["auto"] = "auto",
    allow_code_execution: bool = False,
    seed: int = 0,
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Erase each part in turn, and random sets with as many neurons in each layer beside it.

    Changes are after − before, of the same examples; negative is harm. p and rank say how many
    random sets harm as much (:func:`brodmann.evaluate.permutation_p`); p is not adjusted for the
    number of parts.

    Args:
        model: the model; it is as before afterwards.
        parts: what to erase, as :func:`equal_parts` gives.
        examples: what to ask.
        draws: random sets for each part; they hold none of the whole set's neurons, as long as
            every layer has enough others.
        batch_size: examples of a batch, or "auto".
        allow_code_execution: see :func:`brodmann.evaluate.evaluate`.
        seed: of the random sets and of the bootstrap.

    Returns:
        The evaluation of the model as it is, and a row for each part: ``set``, ``erased`` (how many
        neurons), ``accuracy``, ``margin`` (nats), ``random_draws``, and for ``d_accuracy`` and
        ``d_margin`` the change, ``_low`` and ``_high`` (its 95% paired bootstrap interval over the
        independent examples), and of the random sets' changes ``random_*`` (their mean),
        ``random_*_worst``, ``random_*_rank`` and ``random_*_p`` (None for few draws).

    Raises:
        InputError: when there are no draws.
        MismatchError: when a part was located on another model.
        DataError: when an example cannot be tokenised or scored.
        RunError: when a measurement is not finite.
    """
    if draws < 1:
        raise InputError(f"Expected one random set or more beside each effect; got {draws}.")
    for part in parts:
        check_neurons(model, part.neurons, force=False)
    jobs = [(part, [part.neurons, *_random(part, draws, seed)]) for part in parts]
    ask = partial(evaluate, batch_size=batch_size, allow_code_execution=allow_code_execution)
    before = ask(model, examples)
    todo = [neurons for _, sets in jobs for neurons in sets]
    after = []
    for neurons in progress(todo, len(todo), "Erasing sets and random ones"):
        with erased(model, neurons):
            after.append(ask(model, examples, progress=False))
    each = 1 + draws
    return before, [
        _row(part, before, after[index * each : (index + 1) * each], seed)
        for index, part in enumerate(parts)
    ]


def _strongest(
    name: str, whole: NeuronSet, size: int, scores: Mapping[str, NeuronScores]
) -> NeuronSet:
    if len(whole) == size:
        return whole
    if name not in scores:
        raise InputError(
            f"Expected scores beside {name}, to take the strongest {size} of its {len(whole)} "
            f"neurons; there are none. Locate it again, with --top {size} or keeping the scores."
        )
    return whole.strongest(scores[name], size / len(whole))


def _random(part: Part, draws: int, seed: int) -> list[NeuronSet]:
    spared = bool((part.whole.complement().counts >= part.neurons.counts).all())
    return random_sets(part.neurons, draws, seed=seed, avoid=part.whole if spared else None)


def _row(part: Part, before: Evaluation, after: Sequence[Evaluation], seed: int) -> dict[str, Any]:
    """Sum up the evaluations with a part erased (the first) and with its random sets."""
    row: dict[str, Any] = {
        "set": part.name,
        "erased": len(part.neurons),
        "accuracy": after[0].accuracy,
        "margin": after[0].margin,
        "random_draws": len(after) - 1,
    }
    for name, column in MEASURES.items():
        was = before.column(column)
        change = after[0].change_from(before, column, seed=seed)
        row |= {name: change.mean, f"{name}_low": change.interval[0]}
        row |= {f"{name}_high": change.interval[1]}
        unedited = math.fsum(was) / len(was)
        drawn = [math.fsum(one.column(column)) / len(was) - unedited for one in after[1:]]
        place = permutation_p(-change.mean, [-value for value in drawn])
        row |= {f"random_{name}": math.fsum(drawn) / len(drawn)}
        row |= {f"random_{name}_worst": min(drawn)}
        row |= {f"random_{name}_rank": place.rank, f"random_{name}_p": place.p}
    return row
