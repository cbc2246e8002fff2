"""Put an attention of our own into a model's layers for a while; all else stays the model's.

It goes in through transformers' attention interface, or through an attention module's own
``_attn`` where a family (gptj) does not use the interface.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface

from brodmann.models.activations import LayerCall
from brodmann.models.language_model import LanguageModel

IMPLEMENTATION = "brodmann_attention"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What one layer's attention was asked for.

    Attributes:
        query: after rotation; so is ``key``.
        key: fewer heads than the query's where heads share keys.
        value: likewise.
        scaling: factor on the scores.
        sliding_window: how many tokens a token sees, itself counted; None: all.
        soft_cap: c of c * tanh(score / c), where the family caps scores (gemma2).
    """

    query: Float[Tensor, "b Hq R d"]
    key: Float[Tensor, "b Hkv R d"]
    value: Float[Tensor, "b Hkv R d"]
    scaling: float
    sliding_window: int | None = None
    soft_cap: float | None = None


Attend = Callable[[AttentionCall], Float[Tensor, "b Hq R d"]]
"""What each query reads."""

_attends: list[Attend] = []


def drives(model: LanguageModel) -> bool:
    """Whether the attention of this model's family can be driven."""
    return model.architecture.attention != "opaque"


@contextmanager
def attention_driven(model: LanguageModel, attend: Attend) -> Iterator[None]:
    """Inside the block, every layer attends as ``attend`` says.

    Args:
        model: the model; its config names our attention inside the block and is restored.
        attend: answers each layer's call. It gets no mask: the interface builds none for it.
    """
    _attends.append(attend)
    try:
        with _methods_replaced(model) if _by_method(model) else _interface_named(model):
            yield
    finally:
        _attends.pop()


def call_arguments(module: nn.Module, call: LayerCall) -> dict[str, Any]:
    """The arguments of a layer's call by name, those behind ``**kwargs`` too."""
    signature = inspect.signature(module.forward)
    given = dict(signature.bind(*call.args, **call.kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given


def call_for_tokens(
    given: Mapping[str, Any], hidden: Float[Tensor, "b R D"], places: Callable[[Tensor], Tensor]
) -> dict[str, Any]:
    """A layer's call for other tokens: no mask, which driven attention does not read, no cache.

    Args:
        given: the arguments of a whole sequence's call, by name.
        hidden: the tokens' hidden states.
        places: picks the tokens' rows of what is told of each place, [1 or B, T, ...].
    """
    arguments: dict[str, Any] = {}
    for index, (name, value) in enumerate(given.items()):
        if index == 0:
            arguments[name] = hidden
        elif name in ("position_ids", "position_embeddings"):
            arguments[name] = _picked(value, places)
        elif name == "use_cache":
            arguments[name] = False
        elif "mask" in name or "past" in name or name == "cache_position":
            arguments[name] = None
        else:
            arguments[name] = value
    return arguments


def masks_in(given: Mapping[str, Any]) -> list[Bool[Tensor, "B _ T T"]]:
    """What the masks of a layer's call let a token see.

    A mask knows windows and chunks that no argument of the attention tells.
    """
    masks = [value for name, value in given.items() if "mask" in name]
    return [
        mask if mask.dtype == torch.bool else mask == 0
        for mask in masks
        if isinstance(mask, Tensor) and mask.dim() == 4
    ]


def _picked(value: Any, places: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, tuple):
        return tuple(_picked(part, places) for part in value)
    return None if value is None else places(value)


def _by_method(model: LanguageModel) -> bool:
    return model.architecture.attention == "method"


@contextmanager
def _interface_named(model: LanguageModel) -> Iterator[None]:
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
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    read = _attends[-1](AttentionCall(query, key, value, factor, sliding_window, softcap))
    return read.transpose(1, 2).contiguous(), None


def _method_attention(module: Any) -> Callable[..., tuple[Tensor, None]]:
    def attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Any:
        return _attends[-1](AttentionCall(query, key, value, 1 / float(module.scale_attn))), None

    return attend
