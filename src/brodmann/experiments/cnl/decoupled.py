"""Requests for one expression in two tasks, and the kinds of pairs that they make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from brodmann.experiments.sample import Sample


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests of two tasks for the same expressions: first all of one task, then of the other.

    Attributes:
        samples: of either task.
        expressions: of each request.
        sets: rule -> the numbers of each request's neurons.
        tokens: the first token of each answer.
        right: whether the model gives each expression's value when it is asked for it.
    """

    samples: tuple[Sample, ...]
    expressions: tuple[str, ...]
    sets: Mapping[str, Sequence[frozenset[int]]]
    tokens: Sequence[int]
    right: list[bool]

    @property
    def n(self) -> int:
        """How many expressions."""
        return len(self.expressions) // 2

    @cached_property
    def units(self) -> list[int]:
        """The number of each request's expression."""
        return [*range(self.n), *range(self.n)]


@dataclass(frozen=True, eq=False)
class Kinds:
    """Which pairs of requests are of which kind.

    Attributes:
        expression: one expression, different tasks.
        task: one task, different expressions.
        neither: different expressions and tasks.
        values: those of ``task`` that both ask for the value.
        same_token: pairs whose answers begin with one token.
    """

    expression: Bool[np.ndarray, "n n"]
    task: Bool[np.ndarray, "n n"]
    neither: Bool[np.ndarray, "n n"]
    values: Bool[np.ndarray, "n n"]
    same_token: Bool[np.ndarray, "n n"]


def kinds_of(requests: Requests, among: Bool[np.ndarray, "n n"] | None = None) -> Kinds:
    """Sort pairs of requests.

    Args:
        requests: the requests.
        among: only these pairs are of any kind; all by default.
    """
    unit = np.asarray(requests.units)
    task = np.arange(len(unit)) >= requests.n
    token = np.asarray(requests.tokens)
    one_unit, one_task = unit[:, None] == unit, task[:, None] == task
    kept = np.ones_like(one_unit) if among is None else among
    return Kinds(
        expression=kept & one_unit & ~one_task,
        task=kept & ~one_unit & one_task,
        neither=kept & ~one_unit & ~one_task,
        values=kept & ~one_unit & ~task[:, None] & ~task,
        same_token=kept & (token[:, None] == token),
    )
