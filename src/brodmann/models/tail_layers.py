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


_views: list[_View] = []


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

    def run(layer: int, hidden: Tensor) -> Tensor:
        call = prefix.calls[layer]
        module = model.sites[layer].layer_module
        given = call_arguments(module, call)
        view = _view(prefix, layer, owners, positions, given)
        _views.append(view)
        try:
            return hidden_states(module(**_for_tails(given, hidden, owners, positions)))
        finally:
            _views.pop()

    with attention_driven(model, _attend):
        yield run


def _attend(call: AttentionCall) -> Tensor:
    view = _views[-1]
    visible = view.visible
    if call.sliding_window is not None:
        places = torch.arange(visible.shape[1], device=visible.device)
        seen = view.positions[:, None].to(places.device) - call.sliding_window
        visible = visible & (places > seen)
    return tail_attention(
        call.query, call.key, call.value, view.keys, view.values, visible, call.scaling,
        call.soft_cap,
    )  # fmt: skip


def _for_tails(
    given: dict[str, Any],
    hidden: Float[Tensor, "t R D"],
    owners: Int[Tensor, "t"],
    positions: Int[Tensor, "t"],
) -> dict[str, Any]:
    """The same call for tails: their hidden states and places, no mask, no cache."""
    tails: dict[str, Any] = {}
    rows = hidden.shape[1]
    for index, (name, value) in enumerate(given.items()):
        if index == 0:
            tails[name] = hidden
        elif name in ("position_ids", "position_embeddings"):
            tails[name] = _at_tails(value, owners, positions, rows)
        elif name == "use_cache":
            tails[name] = False
        elif "mask" in name or "past" in name or name == "cache_position":
            tails[name] = None
        else:
            tails[name] = value
    return tails


def _at_tails(value: Any, owners: Tensor, positions: Tensor, rows: int) -> Any:
    """[1 or B, T, ...] at each task's place, the same for its tails: [t, R, ...]."""
    if isinstance(value, tuple):
        return tuple(_at_tails(part, owners, positions, rows) for part in value)
    if value is None:
        return None
    batch = owners if len(value) > 1 else torch.zeros_like(owners)
    found = value[batch.to(value.device), positions.to(value.device)][:, None]
    return found.expand(-1, rows, *found.shape[2:])


def _view(
    prefix: Prefix, layer: int, owners: Tensor, positions: Tensor, given: dict[str, Any]
) -> _View:
    length = int(positions.max())
    keys, values = prefix.keys[layer], prefix.values[layer]
    owners = owners.to(keys.device)
    places = torch.arange(length)
    visible = (places < positions[:, None]).to(keys.device)
    masks = [value for name, value in given.items() if "mask" in name]
    for mask in masks:
        if isinstance(mask, Tensor) and mask.dim() == 4:
            # The mask knows windows and chunks that no argument of the attention tells.
            visible &= _allowed(mask, owners, positions)[:, :length]
    return _View(keys[owners, :, :length], values[owners, :, :length], visible, positions)


def _allowed(mask: Tensor, owners: Tensor, positions: Tensor) -> Tensor:
    batch = owners if len(mask) > 1 else torch.zeros_like(owners)
    rows = mask[batch.to(mask.device), 0, positions.to(mask.device)]
    return (rows if rows.dtype == torch.bool else rows == 0).to(owners.device)
