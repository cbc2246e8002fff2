"""`ComponentGraph`: which component of a model can send to which, through the residual stream."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from brodmann.errors import InputError

EdgeMask = Bool[Tensor, "S R"]
"""True for some edges from S senders to R receivers."""


@dataclass(frozen=True)
class ComponentGraph:
    """The components of a decoder, in the order in which they run.

    Senders: ``embedding`` (what enters layer 0), then of each layer its heads (``a3.h5``) and its
    MLP (``m3``). Receivers: of each layer the query inputs of its heads (``a3.q5``), the key and
    value inputs of its key heads (``a3.k1``, ``a3.v1``: under grouped-query attention several
    heads share one) and its MLP (``m3``), then ``logits`` (the final norm's input). An edge leads
    from each sender to each receiver that reads the residual stream behind it; in a parallel
    block, whose MLP reads what the heads read, none leads from a head to the MLP beside it.

    Attributes:
        heads: query heads of each layer.
        key_heads: key and value heads of each layer.
        parallel: whether the layer's MLP reads the layer's input.
    """

    heads: tuple[int, ...]
    key_heads: tuple[int, ...]
    parallel: tuple[bool, ...]

    @property
    def n_layers(self) -> int:
        """Layers."""
        return len(self.heads)

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """The senders' names."""
        names = ["embedding"]
        for layer, heads in enumerate(self.heads):
            names += [*(f"a{layer}.h{head}" for head in range(heads)), f"m{layer}"]
        return tuple(names)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """The receivers' names."""
        names: list[str] = []
        for layer, (heads, key_heads) in enumerate(zip(self.heads, self.key_heads, strict=True)):
            names += [f"a{layer}.q{head}" for head in range(heads)]
            names += [f"a{layer}.{kind}{head}" for kind in "kv" for head in range(key_heads)]
            names.append(f"m{layer}")
        return (*names, "logits")

    def head_senders(self, layer: int) -> slice:
        """Where a layer's heads stand among the senders."""
        start = 1 + sum(self.heads[:layer]) + layer
        return slice(start, start + self.heads[layer])

    def mlp_sender(self, layer: int) -> slice:
        """Where a layer's MLP stands among the senders."""
        end = self.head_senders(layer).stop
        return slice(end, end + 1)

    def attention_receivers(self, layer: int) -> slice:
        """Where a layer's query, key and value inputs stand among the receivers."""
        start = sum(self.heads[:layer]) + 2 * sum(self.key_heads[:layer]) + layer
        return slice(start, start + self.heads[layer] + 2 * self.key_heads[layer])

    def mlp_receiver(self, layer: int) -> slice:
        """Where a layer's MLP stands among the receivers."""
        end = self.attention_receivers(layer).stop
        return slice(end, end + 1)

    @property
    def logits_receiver(self) -> slice:
        """Where the logits stand among the receivers."""
        return slice(len(self.receivers) - 1, len(self.receivers))

    @cached_property
    def before(self) -> tuple[int, ...]:
        """How many senders each receiver reads: the first so many."""
        counts: list[int] = []
        for layer in range(self.n_layers):
            heads = self.head_senders(layer)
            span = self.attention_receivers(layer)
            counts += [heads.start] * (span.stop - span.start)
            counts.append(heads.start if self.parallel[layer] else heads.stop)
        return (*counts, len(self.senders))

    @cached_property
    def layer_of(self) -> tuple[int, ...]:
        """The layer of each receiver; that of the logits is the number of layers."""
        layers: list[int] = []
        for layer in range(self.n_layers):
            layers += [layer] * (self.heads[layer] + 2 * self.key_heads[layer] + 1)
        return (*layers, self.n_layers)

    @cached_property
    def exists(self) -> EdgeMask:
        """True where there is an edge."""
        places = torch.arange(len(self.senders))
        return places[:, None] < torch.tensor(self.before)[None, :]

    @cached_property
    def n_edges(self) -> int:
        """Edges of the graph."""
        return int(self.exists.sum())

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """The receivers that each sender is computed from (none for the embedding)."""
        found: list[tuple[int, ...]] = [()]
        for layer, (heads, key_heads) in enumerate(zip(self.heads, self.key_heads, strict=True)):
            start = self.attention_receivers(layer).start
            for head in range(heads):
                key = start + heads + head // (heads // key_heads)
                found.append((start + head, key, key + key_heads))
            found.append((self.mlp_receiver(layer).start,))
        return tuple(found)

    def on_paths(self, edges: EdgeMask) -> EdgeMask:
        """Those edges that lie on a path of such edges from the embedding to the logits.

        A path enters a head by its query, key or value input.
        """
        edges = edges & self.exists
        reached = torch.zeros(len(self.senders), dtype=torch.bool)
        reached[0] = True
        for sender, inputs in enumerate(self.inputs):
            if inputs:
                reached[sender] = bool((edges[:, list(inputs)] & reached[:, None]).any())
        useful = self.leading_on(edges)
        return edges & reached[:, None] & useful[None, :]

    def leading_on(self, edges: EdgeMask) -> Bool[Tensor, "R"]:
        """True for receivers from which such edges lead to the logits."""
        useful = torch.zeros(len(self.receivers), dtype=torch.bool)
        useful[-1] = True
        for sender in reversed(range(len(self.senders))):
            if self.inputs[sender] and bool((edges[sender] & useful).any()):
                useful[list(self.inputs[sender])] = True
        return useful

    def mask_of(self, edges: Iterable[tuple[str, str]]) -> EdgeMask:
        """The mask of edges given by the names of their ends.

        Raises:
            InputError: there is no such edge.
        """
        mask = torch.zeros_like(self.exists)
        for sender, receiver in edges:
            if sender not in self.senders or receiver not in self.receivers:
                raise InputError(
                    f"Expected an edge from embedding, a0.h0, m0, ... to a0.q0, a0.k0, a0.v0, m0, "
                    f"..., logits; got {sender} -> {receiver}."
                )
            place = self.senders.index(sender), self.receivers.index(receiver)
            if not self.exists[place]:
                raise InputError(
                    f"Expected an edge that leads onwards; {receiver} does not read {sender}."
                )
            mask[place] = True
        return mask
