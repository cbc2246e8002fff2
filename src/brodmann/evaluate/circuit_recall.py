"""`circuit_recall`: what a circuit alone still answers, and what is left without it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from brodmann.localize.circuits import Circuit
from brodmann.localize.edge_runs import Asked, EdgeRuns, reading_of
from brodmann.localize.sender_means import Reference, replacements
from brodmann.models.components import components_of
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import logits_from_normed

RECALLED = 10
"""The largest rank that counts as recalled (cnl.txt, §2.3)."""


@dataclass(frozen=True, slots=True)
class CircuitRecall:
    """A circuit run alone: all edges outside it removed.

    Attributes:
        rank: of the answer's first token by the circuit alone; 1 is the model's first choice.
        full_rank: of the whole model.
        loss: -log P of the answer by the circuit alone, in nats.
        full_loss: of the whole model.
        empty_loss: with all edges removed.
        complement_loss: of everything but the circuit: large where the circuit is complete.
        n_edges: edges of the circuit.
        parameter_share: the fraction of the model's parameters in its heads and MLPs.
    """

    rank: int
    full_rank: int
    loss: float
    full_loss: float
    empty_loss: float
    complement_loss: float
    n_edges: int
    parameter_share: float

    @property
    def recalled(self) -> bool:
        """Whether the answer is among the circuit's first ten tokens."""
        return self.rank <= RECALLED

    @property
    def faithfulness(self) -> float:
        """Where the circuit stands between nothing (0) and the whole model (1).

        (loss - empty) / (full - empty); NaN where the whole model answers no better than nothing.
        """
        return self._between(self.loss)

    @property
    def complement_faithfulness(self) -> float:
        """The same of everything but the circuit: 0 or less where the circuit is complete."""
        return self._between(self.complement_loss)

    def row(self) -> dict[str, Any]:
        """All of it as a row of a table."""
        return asdict(self) | {
            "recalled": self.recalled,
            "faithfulness": self.faithfulness,
            "complement_faithfulness": self.complement_faithfulness,
        }

    def _between(self, loss: float) -> float:
        gain = self.empty_loss - self.full_loss
        return (self.empty_loss - loss) / gain if gain > 0 else math.nan


@torch.no_grad()
def circuit_recall(
    model: LanguageModel,
    fact: Asked,
    circuit: Circuit,
    *,
    ablation: str = "zero",
    reference: Reference | None = None,
    target: str = "first",
) -> CircuitRecall:
    """Let a circuit alone answer: every edge outside it is removed (cnl.txt, §2.3 and §3.2).

    Args:
        model: the model that the circuit was located on.
        fact: the fact (its first prompt) or example that it is asked.
        circuit: its edges.
        ablation: what removed edges carry: ``"zero"`` or the sender's ``"mean"``.
        reference: prompts for the mean, or their means.
        target: what the losses are of: the ``"first"`` answer token, or ``"all"``. Ranks are
            always those of the first.

    Raises:
        MismatchError: the circuit is another model's, or the means are.
        InputError: an option out of range.
        DataError: prompt and answer that do not tokenise apart.
    """
    circuit.check_belongs(model)
    components = components_of(model)
    reading = reading_of(model, fact, target)
    replaced = replacements(model, ablation, reference, len(reading.ids))
    exists = components.graph.exists
    runs = EdgeRuns(model, components, reading, replaced, circuit.edges, batch_size=1)
    rank, loss = _rank(model, runs), runs.loss
    runs.set_base(exists)
    full_rank, full_loss = _rank(model, runs), runs.loss
    others = torch.stack([torch.zeros_like(exists), exists & ~circuit.edges])
    empty_loss, complement_loss = runs.losses(others).tolist()
    return CircuitRecall(
        rank=rank,
        full_rank=full_rank,
        loss=loss,
        full_loss=full_loss,
        empty_loss=empty_loss,
        complement_loss=complement_loss,
        n_edges=len(circuit),
        parameter_share=circuit.parameter_share(model),
    )


@torch.no_grad()
def circuit_ranks(
    model: LanguageModel,
    fact: Asked,
    circuits: Sequence[Circuit],
    *,
    ablation: str = "zero",
    reference: Reference | None = None,
) -> list[int]:
    """The answer's rank by each of several circuits alone, with one run each.

    Raises and arguments as for :func:`circuit_recall`.
    """
    components = components_of(model)
    reading = reading_of(model, fact, "first")
    replaced = replacements(model, ablation, reference, len(reading.ids))
    ranks = []
    for circuit in circuits:
        circuit.check_belongs(model)
        runs = EdgeRuns(model, components, reading, replaced, circuit.edges, batch_size=1)
        ranks.append(_rank(model, runs))
    return ranks


def _rank(model: LanguageModel, runs: EdgeRuns) -> int:
    """The answer's rank, the last of those with the same logit: nothing left recalls nothing."""
    logits = logits_from_normed(model, runs.normed[:1])[0]
    return int((logits >= logits[runs.reading.targets[0]]).sum())
