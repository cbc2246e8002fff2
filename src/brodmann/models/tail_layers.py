"""Run decoder layers on single tokens (tails) behind prefixes that were read before.

The layers are the model's own; only what their attention does is ours.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brodmann.models.activations import hidden_states
from brodmann.models.driven_attention import (
    AttentionCall,
    attention_driven,
    call_arguments,
    call_for_tokens,
    masks_in,
)
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix
from brodmann.models.tail_attention import tail_attention

TailLayer = Callable[[int, Float[Tensor, "t R D"]], Float[Tensor, "t R D"]]
"""(layer, hidden states of R tails for each of t tasks) -> what the layer makes of them."""


@dataclass(frozen=True, slots=True)
class _View:
    """What the tails of t tasks see in one layer."""

    keys: Float[Tensor, "t Hkv T d"]
    values: Float[Tensor, "t Hkv T d"]
    visible: Bool[Tensor, "t T"]
    positions: Int[Tensor, "t"]


@contextmanager
def tail_layers(
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"]
) -> Iterator[TailLayer]:
    """Inside the block, layers run on tails: single tokens in the place of a chosen token.

    Every tail of task i stands at the chosen token ``tasks[i]`` of the prefix, with its position,
    and sees the keys in front of it, within the layer's window, and itself.

    Args:
        model: the model; its config names our attention inside the block and is restored.
        prefix: the sequences, read before.
        tasks: indices of chosen tokens of the prefix.

    Yields:
        A function that runs one layer.
    """
    owners, positions = prefix.owners[tasks], prefix.positions[tasks]
    views: list[_View] = []

    def run(layer: int, hidden: Tensor) -> Tensor:
        call = prefix.calls[layer]
        module = model.sites[layer].layer_module
        given = call_arguments(module, call)
        views[:] = [_view(prefix, layer, owners, positions, given)]

        def places(told: Tensor) -> Tensor:
            found = told[_rows_of(told, owners), positions.to(told.device)][:, None]
            return found.expand(-1, hidden.shape[1], *found.shape[2:])

        return hidden_states(module(**call_for_tokens(given, hidden, places)))

    with attention_driven(model, lambda call: _attend(views[-1], call)):
        yield run


def _attend(view: _View, call: AttentionCall) -> Tensor:
    visible = view.visible
    if call.sliding_window is not None:
        places = torch.arange(visible.shape[1], device=visible.device)
        seen = view.positions[:, None].to(places.device) - call.sliding_window
        visible = visible & (places > seen)
    return tail_attention(
        call.query, call.key, call.value, view.keys, view.values, visible, call.scaling,
        call.soft_cap,
    )  # fmt: skip


def _view(
    prefix: Prefix, layer: int, owners: Tensor, positions: Tensor, given: dict[str, Any]
) -> _View:
    length = int(positions.max())
    keys, values = prefix.keys[layer], prefix.values[layer]
    owners = owners.to(keys.device)
    places = torch.arange(length)
    visible = (places < positions[:, None]).to(keys.device)
    for mask in masks_in(given):
        rows = mask[_rows_of(mask, owners), 0, positions.to(mask.device)]
        visible &= rows[:, :length].to(visible.device)
    return _View(keys[owners, :, :length], values[owners, :, :length], visible, positions)


def _rows_of(told: Tensor, owners: Tensor) -> Tensor:
    """Which rows of [B, ...] are the owners'; all sequences share the one of [1, ...]."""
    return (owners if len(told) > 1 else torch.zeros_like(owners)).to(told.device)
