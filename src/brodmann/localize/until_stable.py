"""Enough is enough: stop sampling when two halves of the sample select the same neurons."""

from collections.abc import Callable
from dataclasses import dataclass

from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.neurons import NeuronScores, NeuronSet, overlap


@dataclass(frozen=True, slots=True)
class UntilStable:
    """A stopping rule, looked at behind every round of samples.

    Attributes:
        agreement: the overlap of the two halves' sets that is enough, above 0 and up to 1.
        select: from scores to a set; the rule that the sample is taken for.
        minimum: samples of each capability before it is looked at; the most are those given.
        round_size: samples of each capability in a round.
    """

    agreement: float
    select: Callable[[NeuronScores], NeuronSet] = NeuronScores.select
    minimum: int = 64
    round_size: int = 32

    def __post_init__(self) -> None:
        """Refuse values that can never be reached.

        Raises:
            InputError: an agreement outside (0, 1], or a minimum or round below 2 samples.
        """
        if not 0 < self.agreement <= 1:
            raise InputError(
                f"Expected an overlap of halves above 0 and up to 1; got {self.agreement:g}. "
                "0.95 is a good start."
            )
        if min(self.minimum, self.round_size) < 2:
            raise InputError(
                f"Expected at least 2 samples as minimum and in a round; got {self.minimum} and "
                f"{self.round_size}."
            )

    def reached(self, sums: ScoreSums) -> bool:
        """Whether the halves of every capability agree (never on empty sets)."""
        nameless = {"model": None, "fingerprint": None}
        return all(self._agree(sums.scores(group, nameless)) for group in range(sums.n_groups))

    def _agree(self, scores: NeuronScores) -> bool:
        if scores.n_samples < self.minimum:
            return False
        first, second = (self.select(scores.half(which)) for which in (0, 1))
        return len(first) > 0 and len(second) > 0 and overlap(first, second) >= self.agreement
