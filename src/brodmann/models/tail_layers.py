"""Run decoder layers on single tokens (tails) behind prefixes that were read before.

The layers are the model's own; only what their attention does is ours, through transformers'
attention interface, or through an attention module's own ``_attn`` where a family (gptj) does not
use the interface.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface

from brodmann.models.activations import LayerCall, hidden_states
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix
from brodmann.models.tail_attention import tail_attention

IMPLEMENTATION = "brodmann_tails"

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


def drives(model: LanguageModel) -> bool:
    """Whether the attention of this model's family can be driven for tails."""
    return model.architecture.attention != "opaque"


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
        given = _arguments(module, call)
        view = _view(prefix, layer, owners, positions, given)
        _views.append(view)
        try:
            return hidden_states(module(**_for_tails(given, hidden, owners, positions)))
        finally:
            _views.pop()

    with _attention_driven(model):
        yield run


@contextmanager
def _attention_driven(model: LanguageModel) -> Iterator[None]:
    if model.architecture.attention == "method":
        with _methods_replaced(model):
            yield
        return
    AttentionInterface.register(IMPLEMENTATION, _interface_attention)
    decoder: Any = model.decoder
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        decoder.set_attn_implementation(before)


@contextmanager
def _methods_replaced(model: LanguageModel) -> Iterator[None]:
    modules: list[Any] = [
        module
        for site in model.sites
        for module in site.layer_module.modules()
        if hasattr(module, "_attn")
    ]
    for module in modules:
        module._attn = _method_attention(module)
    try:
        yield
    finally:
        for module in modules:
            del module._attn


def _interface_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    view = _views[-1]
    visible = view.visible
    if sliding_window is not None:
        places = torch.arange(visible.shape[1], device=visible.device)
        visible = visible & (places > view.positions[:, None].to(places.device) - sliding_window)
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    read = tail_attention(query, key, value, view.keys, view.values, visible, factor, softcap)
    return read.transpose(1, 2).contiguous(), None


def _method_attention(module: Any) -> Callable[..., tuple[Tensor, None]]:
    def attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Any:
        view = _views[-1]
        factor = 1 / float(module.scale_attn)
        read = tail_attention(query, key, value, view.keys, view.values, view.visible, factor)
        return read, None

    return attend


def _arguments(module: nn.Module, call: LayerCall) -> dict[str, Any]:
    """The arguments of a layer's call by name, those behind ``**kwargs`` too."""
    signature = inspect.signature(module.forward)
    given = dict(signature.bind(*call.args, **call.kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given


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
