"""The loop that methods share: samples in batches, running sums, checkpoints, enough is enough."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate as running_total
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import InputError, RunError
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.processes import gathered, rank_and_count
from brodmann.localize.room import ran_out_of_memory
from brodmann.localize.targets import Reading, readings
from brodmann.localize.until_stable import UntilStable
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress as progress_bar


@dataclass(frozen=True, slots=True)
class Sample:
    """One example in its place.

    Attributes:
        group: which capability.
        index: its number in the capability.
        reading: its tokens.
    """

    group: int
    index: int
    reading: Reading


Plan = list[list[list[int]]]
"""Rounds of batches of sample numbers. Stability is looked at behind each round."""

Score = Callable[[Sequence[Sample]], list[Float[Tensor, "B _"]]]
"""A batch of samples -> each one's scores, layer by layer."""


def samples_of(
    model: LanguageModel,
    groups: Mapping[str, Sequence[Example]],
    *,
    target: str,
    allowed: Sequence[str],
    chat_template: str,
) -> list[Sample]:
    """Tokenise all groups.

    Raises:
        InputError: no groups, or a target that is not allowed.
        DataError: examples that cannot be used.
    """
    if not groups:
        raise InputError("Expected at least one group of examples; got none.")
    if target not in allowed:
        raise InputError(f"Expected target out of {', '.join(allowed)}; got '{target}'.")
    return [
        Sample(group, index, reading)
        for group, examples in enumerate(groups.values())
        for index, reading in enumerate(
            readings(model, examples, target=target, chat_template=chat_template)
        )
    ]


def rounds_of(
    samples: Sequence[Sample],
    batches_of: Callable[[list[int]], list[list[int]]],
    until_stable: UntilStable | None,
) -> Plan:
    """Plan the batches: one round with all samples, or rounds to look at stability between.

    Args:
        samples: all samples.
        batches_of: plans the batches of some sample numbers.
        until_stable: says how many samples of each capability a round has.
    """
    size = until_stable.round_size if until_stable is not None else len(samples)
    rounds: dict[int, list[int]] = {}
    for number, sample in enumerate(samples):
        rounds.setdefault(sample.index // size, []).append(number)
    return [batches_of(rounds[key]) for key in sorted(rounds)]


def accumulate(
    sums: ScoreSums,
    samples: Sequence[Sample],
    plan: Plan,
    score: Score,
    *,
    label: str,
    checkpoint: Checkpoint,
    progress: bool | None,
    until_stable: UntilStable | None = None,
) -> ScoreSums:
    """Score every batch of a plan into running sums.

    Of several processes each takes every n-th batch of a round; all get the same sums.

    Args:
        sums: where scores are added, as restored from the checkpoint.
        samples: what the plan's numbers mean.
        plan: rounds of batches.
        score: scores a batch.
        label: what the progress bar says.
        checkpoint: keeps the sums.
        progress: whether the bar is shown.
        until_stable: looked at behind each round; ends the run when reached.

    Returns:
        The sums over all processes.
    """
    rank, count = rank_and_count()
    mine = [batches[rank::count] for batches in plan]
    ends = list(running_total(len(batches) for batches in mine))
    done, looked = checkpoint.restore(sums)
    batches = [batch for part in mine for batch in part]
    bar = progress_bar(batches[done:], len(batches), label, done=done, shown=progress)
    for number, end in enumerate(ends, start=1):
        while done < end:
            _add(sums, [samples[i] for i in next(bar)], score)
            done += 1
            checkpoint.save(sums, done, rounds=looked, now=done == len(batches))
        if until_stable is None or number <= looked:
            continue
        total = sums.over_processes()
        # One decides for all: a last bit that differs between machines must not part them.
        if gathered(until_stable.reached(total))[0]:
            return total
        looked = number
    return sums.over_processes()


def _add(sums: ScoreSums, batch: Sequence[Sample], score: Score) -> None:
    groups = torch.tensor([sample.group for sample in batch])
    indices = torch.tensor([sample.index for sample in batch])
    sums.add(halving(score, batch), groups, indices)


def halving(score: Score, batch: Sequence[Sample]) -> list[Float[Tensor, "B _"]]:
    """Score a batch, in halves where memory does not hold the whole.

    Raises:
        RunError: when it does not hold a single sample.
    """
    try:
        return score(batch)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise RunError(
                f"Expected memory for one sample of {len(batch[0].reading.ids)} tokens; it ran "
                f"out. Use a shorter sample, a smaller --dtype or a larger device. ({error})"
            ) from error
    half = len(batch) // 2
    first, second = halving(score, batch[:half]), halving(score, batch[half:])
    return [torch.cat(pair) for pair in zip(first, second, strict=True)]


def mean_by_sample(
    scores: Float[Tensor, "P n"], owner: Int[Tensor, "P"], n_samples: int
) -> Float[Tensor, "B n"]:
    """Mean over each sample's positions."""
    if len(owner) == n_samples:  # one position a sample
        return scores
    counts = torch.bincount(owner, minlength=n_samples).to(scores)
    return sum_by_sample(scores, owner, n_samples) / counts[:, None]


def sum_by_sample(
    scores: Float[Tensor, "P n"], owner: Int[Tensor, "P"], n_samples: int
) -> Float[Tensor, "B n"]:
    """Sum over each sample's positions."""
    out = scores.new_zeros(n_samples, scores.shape[1])
    return out.index_add_(0, owner.to(scores.device), scores)


def work_of(
    model: LanguageModel, samples: Sequence[Sample], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides a run's bits besides its plan, for a checkpoint."""
    return {
        "fingerprint": model.fingerprint,
        "dtype": str(model.dtype),
        "options": dict(options),
        "samples": [(s.group, s.index, s.reading.ids, s.reading.targets) for s in samples],
    }


def batch_sizes(plan: Plan) -> list[int]:
    """How many samples each batch has, for the provenance."""
    return [len(batch) for part in plan for batch in part]


def model_provenance(model: LanguageModel) -> dict[str, Any]:
    """Which model gave the scores."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "architecture": model.architecture.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantisation": model.quantisation,
        "processes": rank_and_count()[1],
    }
