"""What runs with removed edges send from component to component."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brodmann.models.component_graph import ComponentGraph
from brodmann.models.component_hooks import Traffic

Sent = Float[Tensor, "B S T D"]
"""What each sender adds to the residual stream, at every token of every row."""


class Recorder(Traffic):
    """Keeps what was sent; reroutes nothing.

    Attributes:
        spans: the senders' values as they came, [B, T, s, D] each, by their first place.
    """

    def __init__(self) -> None:
        self.spans: dict[int, Tensor] = {}

    def sent(
        self,
        span: slice,
        values: Float[Tensor, "B T s D"],
        constant: Float[Tensor, "#B #T D"] | None,
    ) -> None:
        """Keep them."""
        self.spans[span.start] = values.detach()

    @property
    def values(self) -> Sent:
        """Everything that was sent in the last pass."""
        parts = [self.spans[start] for start in sorted(self.spans)]
        device = parts[0].device
        return torch.cat([part.to(device) for part in parts], 2).transpose(1, 2)


class MaskedEdges(Traffic):
    """Each row of the batch lacks edges of its own.

    A receiver reads the sum of what it is sent over edges that are there, of what stands in the
    place of the others, and of the constants: never the model's own stream minus something, which
    would lose the last digits where a few large contributions cancel.

    Attributes:
        values: what was sent [B, S, T, D].
        constants: of each layer, what belongs to no component.
    """

    def __init__(self, graph: ComponentGraph, replaced: Float[Tensor, "S T D"] | None) -> None:
        self.graph, self.replaced = graph, replaced
        self.values = torch.empty(0)
        self.constants: list[Tensor | None] = [None] * graph.n_layers
        self.edges = torch.empty(0)
        self.first_layer = 0

    def start(self, edges: Bool[Tensor, "B S R"], first_layer: int = 0) -> None:
        """Say which edges are there in the coming pass, and where it starts."""
        self.edges, self.first_layer = edges, first_layer

    def sent(
        self,
        span: slice,
        values: Float[Tensor, "B T s D"],
        constant: Float[Tensor, "#B #T D"] | None,
    ) -> None:
        """Keep them for the receivers behind."""
        if self.values.numel() == 0:
            rows, tokens, _, width = values.shape
            self.values = values.new_zeros(rows, len(self.graph.senders), tokens, width)
        self.values[:, span] = values.transpose(1, 2).to(self.values.device)
        if constant is not None:
            layer = self._layer_of_heads(span)
            self.constants[layer] = constant.to(self.values.device)

    def received(self, span: slice, stream: Float[Tensor, "B T D"]) -> Float[Tensor, "B T r D"]:
        """What these receivers read in each row."""
        before = self.graph.before[span.start]
        sent = self.values[:, :before]
        kept = self.edges[:, :before, span].to(sent.device, sent.dtype).transpose(1, 2)
        total = torch.bmm(kept, sent.flatten(2))
        if self.replaced is not None:
            total = total + (1 - kept) @ self.replaced[:before].to(sent).flatten(1)
        total = total.unflatten(2, sent.shape[2:]).transpose(1, 2)
        for layer, constant in enumerate(self.constants):
            if constant is not None and self.graph.head_senders(layer).stop <= before:
                total = total + constant[:, :, None]
        return total.to(stream.device)

    def _layer_of_heads(self, span: slice) -> int:
        starts = [self.graph.head_senders(layer).start for layer in range(self.graph.n_layers)]
        return starts.index(span.start)


class FadingSenders(Traffic):
    """All edges of a sender fade together; gradients are taken of what each receiver reads.

    A receiver reads ``stream + sum over senders of (1 - kept) * (replaced - sent)``: the edge's
    share ``kept`` of what is sent, and for the rest what stands in its place.

    Attributes:
        probes: a tensor of zeros for each group of receivers, added to what they read.
        recorder: what was sent.
    """

    def __init__(
        self,
        graph: ComponentGraph,
        kept: Float[Tensor, "B S"] | None,
        replaced: Float[Tensor, "S T D"] | None,
        entering: Float[Tensor, "B T D"] | None = None,
    ) -> None:
        self.graph, self.kept, self.replaced, self.embedding = graph, kept, replaced, entering
        self.recorder = Recorder()
        self.probes: dict[int, Tensor] = {}
        self.shifts: list[Tensor | None] = []

    def entering(self, stream: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The embeddings that were given, if any."""
        return stream if self.embedding is None else self.embedding.to(stream)

    def sent(
        self,
        span: slice,
        values: Float[Tensor, "B T s D"],
        constant: Float[Tensor, "#B #T D"] | None,
    ) -> None:
        """Keep them, and sum what their fading takes from the stream."""
        self.recorder.sent(span, values, constant)
        if self.kept is None:
            return
        gap = -values
        if self.replaced is not None:
            gap = gap + self.replaced[span].transpose(0, 1).to(values)
        shift = ((1 - self.kept[:, None, span, None].to(values)) * gap).sum(2)
        self.shifts += [None] * (span.stop - span.start - 1) + [shift]

    def received(self, span: slice, stream: Float[Tensor, "B T D"]) -> Float[Tensor, "B T r D"]:
        """The faded stream, once for each receiver."""
        wide = stream.to(self.recorder.spans[0].dtype)
        for shift in self.shifts[: self.graph.before[span.start]]:
            if shift is not None:
                wide = wide + shift.to(wide.device)
        rows, tokens, width = wide.shape
        count = span.stop - span.start
        probe = wide.new_zeros(rows, tokens, count, width, requires_grad=True)
        self.probes[span.start] = probe
        return wide[:, :, None] + probe
