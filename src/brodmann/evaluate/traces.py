"""Traces of many facts as one: the mean effect by what a token is to the subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import InputError, MismatchError
from brodmann.evaluate.statistics import bootstrap_interval
from brodmann.localize.trace import Trace
from brodmann.neurons.provenance import check_same_model

ROLES = (
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "first subsequent token",
    "further tokens",
    "last token",
)
"""What a token is to the subject, from left to right."""


@dataclass(frozen=True, eq=False)
class AveragedEffects:
    """Effects of one kind, averaged over facts.

    Attributes:
        mean: of the facts that have a token of the role; NaN where none has.
        low: lower end of the bootstrap interval over facts.
        high: upper end.
    """

    mean: Float[Tensor, "6 L"]
    low: Float[Tensor, "6 L"]
    high: Float[Tensor, "6 L"]


@dataclass(frozen=True, eq=False)
class AveragedTraces:
    """Traces of several facts, averaged by the role of their tokens.

    Attributes:
        n_facts: how many.
        counts: how many of them have a token of each role.
        clean: mean probability of the answer in the clean runs.
        corrupted: in the corrupted runs.
        effects: kind -> effects.
        confidence: of the intervals.
    """

    n_facts: int
    counts: Int[Tensor, "6"]
    clean: float
    corrupted: float
    effects: dict[str, AveragedEffects]
    confidence: float

    def rows(self) -> list[dict[str, Any]]:
        """One row for each kind, role and layer, for a table."""
        return [
            {
                "kind": kind,
                "role": role,
                "layer": layer,
                "effect": float(found.mean[place, layer]),
                "low": float(found.low[place, layer]),
                "high": float(found.high[place, layer]),
                "facts": int(self.counts[place]),
            }
            for kind, found in self.effects.items()
            for place, role in enumerate(ROLES)
            if self.counts[place]
            for layer in range(found.mean.shape[1])
        ]


def average_traces(
    traces: Sequence[Trace], *, confidence: float = 0.95, seed: int = 0
) -> AveragedTraces:
    """Average traces over facts, role by role (the averaged grid of Meng et al. 2022, Fig. 2).

    Several tokens of one role are averaged within their fact first, so that every fact counts
    once. A fact without a token of a role is left out of that role: a subject of one token is its
    last token and no first one; where the subject ends the prompt, nothing follows it; the last
    token of the prompt is no subsequent one besides. (The peer counts a subject's only token as
    first and last.) Intervals are percentile bootstrap intervals over facts.

    Args:
        traces: of one model, with the same kinds.
        confidence: of the intervals.
        seed: of the bootstrap draws.

    Raises:
        InputError: no traces, or traces of different kinds.
        MismatchError: traces of different models.
    """
    _check(traces)
    roles = [role_tokens(trace) for trace in traces]
    counts = torch.tensor([sum(bool(one[place]) for one in roles) for place in range(len(ROLES))])
    effects = {}
    for kind in traces[0].effects:
        tables = [
            torch.stack([
                trace.effects[kind][one[place]].mean(0)
                for trace, one in zip(traces, roles, strict=True)
                if one[place]
            ])
            if counts[place]
            else torch.full((1, traces[0].effects[kind].shape[1]), torch.nan)
            for place in range(len(ROLES))
        ]  # fmt: skip
        bounds = torch.tensor([
            [bootstrap_interval(column, confidence=confidence, seed=seed) for column in table]
            for table in (table.T.tolist() for table in tables)
        ])  # fmt: skip
        mean = torch.stack([table.mean(0) for table in tables])
        effects[kind] = AveragedEffects(mean, bounds[..., 0], bounds[..., 1])
    clean, corrupted = (
        sum(getattr(trace, name) for trace in traces) / len(traces)
        for name in ("clean", "corrupted")
    )
    return AveragedTraces(len(traces), counts, clean, corrupted, effects, confidence)


def role_tokens(trace: Trace) -> list[list[int]]:
    """The tokens of each role, in the order of :data:`ROLES`; none where the prompt has none."""
    (start, end), last = trace.subject, len(trace.tokens) - 1
    return [
        [start] if end - start > 1 else [],
        list(range(start + 1, end - 1)),
        [end - 1],
        [end] if end < last else [],
        list(range(end + 1, last)),
        [last] if last >= end else [],
    ]


def _check(traces: Sequence[Trace]) -> None:
    if not traces:
        raise InputError("Expected at least one trace to average; got none.")
    first = traces[0]
    for trace in traces[1:]:
        check_same_model(first.provenance, trace.provenance, "traces")
        if list(trace.effects) != list(first.effects):
            raise InputError(
                f"Expected traces of the same kinds; got {', '.join(first.effects)} and "
                f"{', '.join(trace.effects)} ({trace.fact}). Trace all facts with the same kinds."
            )
        shapes = [next(iter(one.effects.values())).shape[1] for one in (first, trace)]
        if shapes[0] != shapes[1]:
            raise MismatchError(
                f"Expected traces of one model; got {shapes[0]} and {shapes[1]} layers."
            )
