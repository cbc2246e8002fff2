"""Run decoder layers on the end of a sequence, many times over, behind what was read before."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
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
from brodmann.models.recorded_run import Run

SuffixLayer = Callable[[int, Float[Tensor, "C R m D"], int], Float[Tensor, "C R m D"]]
"""(layer, hidden states of m tokens in C copies of R sequences, the first token's place) -> what
the layer makes of them."""


@contextmanager
def suffix_layers(model: LanguageModel, run: Run) -> Iterator[SuffixLayer]:
    """Inside the block, layers run on the last m tokens of recorded sequences.

    Copy c of sequence r has states of its own from the first of these tokens on; what stands in
    front is the recorded sequence's, whose keys and values they see.

    Args:
        model: the model; its config names our attention inside the block and is restored.
        run: the sequences, read before.

    Yields:
        A function that runs one layer.
    """
    attends: list[Callable[[AttentionCall], Tensor]] = []

    def layer_of(layer: int, hidden: Tensor, first: int) -> Tensor:
        copies, rows, count, _ = hidden.shape
        module = model.sites[layer].layer_module
        given = call_arguments(module, run.calls[layer])
        visible = _visible(given, first, count, hidden.device)
        prefix = [
            part[:, :, :first].expand(copies, -1, -1, -1, -1).flatten(0, 1)
            for part in (run.keys[layer], run.values[layer])
        ]
        attends[:] = [lambda call: suffix_attention(call, prefix[0], prefix[1], visible)]
        # All sequences have the same places.
        arguments = call_for_tokens(
            given, hidden.flatten(0, 1), lambda told: told[:1, first : first + count]
        )
        return hidden_states(module(**arguments)).unflatten(0, (copies, rows))

    with attention_driven(model, lambda call: attends[-1](call)):
        yield layer_of


@contextmanager
def whole_layers(model: LanguageModel, run: Run) -> Iterator[SuffixLayer]:
    """Where attention cannot be driven: the same on whole sequences, one copy at a time.

    It goes in exactly as the recorded sequences did, so that masks and distances of any form fit.
    """

    def layer_of(layer: int, hidden: Tensor, first: int) -> Tensor:
        module = model.sites[layer].layer_module
        given = call_arguments(module, run.calls[layer])
        return hidden_states(module(**given | {next(iter(given)): hidden[0]}))[None]

    yield layer_of


def suffix_attention(
    call: AttentionCall,
    prefix_keys: Float[Tensor, "b Hkv f d"],
    prefix_values: Float[Tensor, "b Hkv f d"],
    visible: Bool[Tensor, "m K"],
) -> Float[Tensor, "b Hq m d"]:
    """What m tokens read from f keys in front of them and from each other, K = f + m.

    Weights are a softmax in float32 (float64 for float64). Query heads are grouped over fewer key
    heads as Hugging Face orders them.

    Args:
        call: queries, keys and values of the m tokens.
        prefix_keys: what stands in front of them; so do ``prefix_values``.
        prefix_values: likewise.
        visible: which of the K keys each token may see, before the layer's own window.
    """
    query, heads = call.query, call.key.shape[1]
    count, length = visible.shape
    keys = torch.cat([prefix_keys.to(call.key), call.key], dim=2)
    values = torch.cat([prefix_values.to(call.value), call.value], dim=2)
    if call.sliding_window is not None:
        places = torch.arange(length, device=visible.device)
        visible = visible & (places > places[-count:, None] - call.sliding_window)
    grouped = query.unflatten(1, (heads, -1)).flatten(2, 3)
    scores = torch.matmul(grouped, keys.transpose(-1, -2)).mul_(call.scaling)
    if call.soft_cap is not None:
        scores.div_(call.soft_cap).tanh_().mul_(call.soft_cap)
    accurate = torch.float64 if scores.dtype == torch.float64 else torch.float32
    hidden = (~visible).repeat(grouped.shape[2] // count, 1)
    weights = torch.softmax(scores.masked_fill_(hidden, -torch.inf), dim=-1, dtype=accurate)
    return torch.matmul(weights.to(query.dtype), values).view_as(query)


def _visible(
    given: Mapping[str, Any], first: int, count: int, device: torch.device
) -> Bool[Tensor, "m K"]:
    """Which keys each of the tokens first, ..., first + count - 1 sees."""
    length = first + count
    visible = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    for mask in masks_in(given):
        visible &= mask[0, 0, :length, :length].to(device)
    return visible[first:]
