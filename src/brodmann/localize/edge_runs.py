"""`EdgeRuns`: one prompt read again and again, with other edges removed in each row of a batch."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brodmann.data import Example
from brodmann.data.facts import Fact
from brodmann.errors import InputError
from brodmann.localize.edge_traffic import MaskedEdges
from brodmann.localize.targets import Reading, readings
from brodmann.models.activations import LayerCall, hidden_states, layer_calls
from brodmann.models.component_graph import EdgeMask
from brodmann.models.component_hooks import Components, layer_input, routed, with_layer_input
from brodmann.models.language_model import LanguageModel
from brodmann.models.probability import token_log_probability

Asked = Fact | Example
"""What a circuit is of: a fact, by its first prompt, or one example."""

_ROOM = 2**29
"""Bytes that the contributions of a batch may take under ``batch_size="auto"``."""

_MOST_ROWS = 32


def example_of(fact: Asked) -> Example:
    """The prompt that is read: a fact's first, or the example itself."""
    return fact.examples()[0] if isinstance(fact, Fact) else fact


def reading_of(model: LanguageModel, fact: Asked, target: str) -> Reading:
    """The tokens that are read, and where the answer's first token (or all of them) is predicted.

    Raises:
        InputError: ``target`` is neither "first" nor "all".
        DataError: prompt and answer do not tokenise apart.
    """
    if target not in ("first", "all"):
        raise InputError(f"Expected target 'first' or 'all'; got '{target}'.")
    return readings(model, [example_of(fact)], target=target, chat_template="off")[0]


def run_decoder(model: LanguageModel, rows: Sequence[Sequence[int]]) -> Float[Tensor, "B T D"]:
    """The final norm's output for rows of equally many tokens."""
    ids = torch.tensor([list(row) for row in rows], device=model.device)
    return model.decoder(input_ids=ids, use_cache=False).last_hidden_state


class EdgeRuns:
    """A prompt's loss under many edge masks, a batch of them at a time.

    Every row is one mask. Layers below the first receiver that any mask of a batch changes are as
    in the base run, which is made once: their contributions are taken from it, and the pass starts
    at that receiver's layer.

    Attributes:
        base: the edges of the base run.
        loss: -log P of the answer in the base run, in nats, summed over the target's tokens.
        normed: the final norm's output at the predicting tokens in the base run [P, D].
        rows: masks of a batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        components: Components,
        reading: Reading,
        replaced: Float[Tensor, "S T D"] | None,
        base: EdgeMask,
        batch_size: int | Literal["auto"] = "auto",
    ) -> None:
        self.model, self.components, self.reading = model, components, reading
        self.rows = _rows(components, len(reading.ids), model.width, batch_size)
        self._traffic = MaskedEdges(components.graph, replaced)
        self._calls: list[LayerCall] = []
        self.set_base(base)

    @torch.no_grad()
    def set_base(self, base: EdgeMask) -> None:
        """Run the whole model under ``base``; later runs start from it."""
        self.base = base & self.components.graph.exists
        self._traffic.start(self.base.expand(self.rows, -1, -1))
        with routed(self.components, self._traffic), layer_calls(self.model) as calls:
            normed = run_decoder(self.model, [self.reading.ids] * self.rows)
        for call in calls:
            call.output = None
        self._calls = calls
        self._values = self._traffic.values[:1].clone()
        self.normed = normed[0, list(self.reading.positions)]
        self.loss = float(self._losses(normed)[0])

    @torch.no_grad()
    def losses(self, masks: Bool[Tensor, "b S R"]) -> Float[Tensor, "b"]:
        """The loss under each mask, in float64."""
        return torch.cat(
            [self._batch(masks[i : i + self.rows]) for i in range(0, len(masks), self.rows)]
        )

    def _batch(self, masks: Tensor) -> Tensor:
        graph = self.components.graph
        changed = (masks != self.base).any(0).any(0)
        if not bool(changed.any()):
            return torch.full((len(masks),), self.loss, dtype=torch.float64)
        first = min(graph.layer_of[place] for place in changed.nonzero()[:, 0].tolist())
        full = torch.cat([masks, masks[-1:].expand(self.rows - len(masks), -1, -1)])
        self._traffic.start(full)
        kept = graph.head_senders(first).start if first < graph.n_layers else len(graph.senders)
        self._traffic.values[:, :kept] = self._values[:, :kept]
        with routed(self.components, self._traffic):
            normed = self._from_layer(first)
        return self._losses(normed[: len(masks)])

    def _from_layer(self, first: int) -> Tensor:
        hidden: Tensor = layer_input(self._calls[-1].args, self._calls[-1].kwargs)
        for site, call in zip(self.model.sites[first:], self._calls[first:], strict=True):
            # What the layer is given does not count: receivers read from the masks.
            given = layer_input(call.args, call.kwargs)
            args, kwargs = with_layer_input(call.args, call.kwargs, given)
            output: Any = site.layer_module(*args, **kwargs)
            hidden = hidden_states(output)
        return self.components.final_norm(hidden)

    def _losses(self, normed: Tensor) -> Tensor:
        places = list(self.reading.positions)
        rows = normed[:, places].flatten(0, 1)
        targets = torch.tensor(self.reading.targets).repeat(len(normed))
        found, _ = token_log_probability(self.model, rows, targets)
        return -found.double().cpu().view(len(normed), -1).sum(1)


def _rows(
    components: Components, n_tokens: int, width: int, batch_size: int | Literal["auto"]
) -> int:
    if isinstance(batch_size, int) and batch_size < 1:
        raise InputError(f"Expected a batch size of 1 or more, or 'auto'; got {batch_size}.")
    if isinstance(batch_size, int):
        return batch_size
    graph = components.graph
    return room_for_rows(len(graph.senders) * (2 * n_tokens * width + len(graph.receivers)))


def room_for_rows(numbers: int) -> int:
    """How many rows a batch may have where each keeps so many numbers of 4 bytes."""
    return max(1, min(_MOST_ROWS, _ROOM // (4 * numbers)))
