"""Erase a set, and random sets of the same size, and see what each does to some answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from brodmann.evaluate import (
    Difference,
    Evaluation,
    Permutation,
    paired_difference,
    permutation_p,
    random_sets,
)
from brodmann.experiments.cells import units
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

DRAWS_FOR_P = 99
"""Random sets from which on an experiment prints a p, not the rank alone."""


@dataclass(frozen=True)
class Erasure:
    """Answers to the same examples: with nothing erased, a located set, and random ones.

    Attributes:
        base: of the model as it is.
        located: with the located set erased.
        random: with each random set erased, as many neurons in each layer.
        by_norm: with each random set erased that is matched by activation norm besides.
    """

    base: Evaluation
    located: Evaluation
    random: Sequence[Evaluation]
    by_norm: Sequence[Evaluation] = ()

    @property
    def beside_norm(self) -> "Erasure":
        """The same beside the sets that are matched by activation norm."""
        return replace(self, random=self.by_norm, by_norm=())

    def change(self, measure: str = "correct") -> Difference:
        """What erasing the located set changes."""
        return self.located.change_from(self.base, measure)

    def random_changes(self, measure: str = "correct") -> list[float]:
        """What erasing each random set changes."""
        before = self.base.column(measure)
        return [(sum(one.column(measure)) - sum(before)) / len(before) for one in self.random]

    def standing(self, measure: str = "correct") -> Permutation:
        """Where the located set's harm stands among that of the random sets."""
        harm = [-change for change in self.random_changes(measure)]
        return standing(-self.change(measure).mean, harm)

    def random_mean(self, measure: str = "correct") -> list[float]:
        """For each example, the mean over the random sets."""
        columns = [one.column(measure) for one in self.random]
        return [sum(values) / len(values) for values in zip(*columns, strict=True)]


def standing(harm: float, random: Sequence[float]) -> Permutation:
    """Place a harm among that of random sets; a p is claimed from :data:`DRAWS_FOR_P` draws on."""
    found = permutation_p(harm, random)
    return found if found.draws >= DRAWS_FOR_P else replace(found, p=None)


def standing_of_mean(erasures: Sequence[Erasure], measure: str = "correct") -> Permutation:
    """Place the located sets' mean harm among that of their random sets, draw by draw."""
    harms = zip(*(one.random_changes(measure) for one in erasures), strict=True)
    own = -sum(one.change(measure).mean for one in erasures) / len(erasures)
    return standing(own, [-sum(together) / len(together) for together in harms])


def erase_and_compare(
    bench: Workbench,
    neurons: NeuronSet,
    sample: Sample,
    *,
    draws: int,
    norm_draws: int = 0,
    match: str = "layer",
    seed: int = 0,
) -> Erasure:
    """Erase a set and random sets of its size, each matched per layer.

    Neurons that are hardly active cannot do harm, so that random sets may be harmless for that
    alone: the sets of ``norm_draws`` have as many neurons in each tenth of a layer by mean |z|
    over the texts that are answered.

    Args:
        bench: the model.
        neurons: the located set.
        sample: what to answer.
        draws: random sets.
        norm_draws: random sets matched by activation norm.
        match: see :func:`brodmann.evaluate.random_sets`.
        seed: of the random sets.
    """
    drawn = random_sets(neurons, draws, match, seed=seed) if len(neurons) else []
    by_norm = []
    if norm_draws and len(neurons):
        norms = bench.norms(bench.examples(sample))
        by_norm = random_sets(neurons, norm_draws, "activation", seed=seed, norms=norms)
    return Erasure(
        bench.answers(sample),
        bench.answers(sample, neurons),
        [bench.answers(sample, one) for one in drawn],
        [bench.answers(sample, one) for one in by_norm],
    )


def beyond_random(erasures: Sequence[Erasure], measure: str = "correct") -> Difference | None:
    """Return what located sets change beyond the mean of their random ones, over all examples.

    Negative: the located sets do more harm. The interval is over examples (expressions); None
    without random sets.
    """
    drawn = [one for one in erasures if one.random]
    if not drawn:
        return None
    return paired_difference(
        [value for one in drawn for value in one.random_mean(measure)],
        [value for one in drawn for value in one.located.column(measure)],
        groups=[unit for one in drawn for unit in units(one.base)],
    )


def perplexity_ratio(found: Mapping[str, float | None]) -> float | None:
    """Return by what erasing multiplies the perplexity of neutral text; None where it is infinite.

    Args:
        found: what :meth:`Workbench.neutral` tells.
    """
    after, before = found["perplexity_after"], found["perplexity_before"]
    return None if after is None or before is None else after / before
