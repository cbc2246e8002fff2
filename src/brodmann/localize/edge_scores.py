"""`EdgeScores`: one number for each edge of a model's component graph."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import InputError
from brodmann.localize.circuits import Circuit
from brodmann.models.component_graph import ComponentGraph, EdgeMask
from brodmann.neurons.provenance import Provenance
from brodmann.neurons.select import count_of


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """What a method expects the answer's loss to rise by, in nats, without each edge.

    Attributes:
        graph: the components and edges of the model.
        values: [senders, receivers]; 0 where there is no edge. Positive: the edge helps the
            answer; negative: it holds the answer back.
        provenance: model, fingerprint, method and options, in JSON types.
    """

    graph: ComponentGraph
    values: Float[Tensor, "S R"]
    provenance: Provenance = field(default_factory=dict)

    def top(
        self,
        n: int | None = None,
        fraction: int | float | None = None,
        *,
        signed: bool = False,
        prune: bool = True,
    ) -> Circuit:
        """The n edges of the largest scores, less those on no path from embedding to logits.

        Args:
            n: edges before pruning.
            fraction: of the model's edges, instead of n.
            signed: rank by the score, so that only edges that help the answer come first; else by
                its absolute value, as published.
            prune: leave out edges on no path; the circuit then has n edges or fewer.

        Raises:
            InputError: when not exactly one of n and fraction is given, n is not from 1 to the
                number of edges, or fraction not above 0 and up to 1.
        """
        if (n is None) == (fraction is None):
            raise InputError("Expected either n or fraction; write top(100) or top(fraction=0.01).")
        if n is None:
            assert fraction is not None
            n = count_of(fraction, self.graph.n_edges)
        if not 1 <= n <= self.graph.n_edges:
            raise InputError(f"Expected from 1 to {self.graph.n_edges:,} edges; got {n:,}.")
        ranked = self.values if signed else self.values.abs()
        ranked = ranked.masked_fill(~self.graph.exists, -torch.inf)
        chosen = torch.zeros_like(self.graph.exists).flatten()
        # A stable order, so that ties give the same circuit everywhere.
        chosen[ranked.flatten().sort(descending=True, stable=True).indices[:n]] = True
        rule = {"top": n, "signed": signed, "prune": prune}
        return self._circuit(chosen.view_as(self.graph.exists), rule, prune)

    def above(self, threshold: int | float, *, signed: bool = False, prune: bool = True) -> Circuit:
        """The edges whose absolute score (or score, if signed) is above a threshold, in nats.

        Edges on no path from embedding to logits are left out where ``prune`` is on.
        """
        ranked = self.values if signed else self.values.abs()
        rule = {"above": threshold, "signed": signed, "prune": prune}
        return self._circuit((ranked > threshold) & self.graph.exists, rule, prune)

    def _circuit(self, edges: EdgeMask, rule: dict[str, Any], prune: bool) -> Circuit:
        circuit = Circuit(self.graph, edges, dict(self.provenance) | {"rule": rule})
        return circuit.on_paths() if prune else circuit
