"""A forward pass that is kept from the embeddings to the last layer: clean, or with noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from brodmann.models.activations import LayerCall, layer_calls
from brodmann.models.driven_attention import drives
from brodmann.models.language_model import LanguageModel
from brodmann.models.sublayers import check_sublayers, embeddings_shifted, sublayers_recorded


@dataclass(frozen=True, slots=True)
class Run:
    """A forward pass over R sequences of T tokens, from the embeddings to the last layer.

    Attributes:
        states: what each layer was given, and what the last one gave: L + 1 of them.
        calls: how each layer was called.
        keys: of each layer, after rotation; empty where attention cannot be driven.
        values: likewise.
        sublayers: what each sublayer gave to the residual stream, layer by layer; empty unless
            asked for.
    """

    states: list[Float[Tensor, "R T D"]]
    calls: list[LayerCall]
    keys: list[Float[Tensor, "R Hkv T d"]] = field(default_factory=list)
    values: list[Float[Tensor, "R Hkv T d"]] = field(default_factory=list)
    sublayers: Mapping[str, list[Float[Tensor, "N D"]]] = field(default_factory=dict)


@torch.no_grad()
def clean_run(model: LanguageModel, ids: Sequence[int]) -> Run:
    """Read one sequence, with what every sublayer gave.

    Raises:
        ModelError: the layers add something else than the architecture row says.
    """
    tokens = torch.tensor([list(ids)], device=model.device)
    with layer_calls(model) as calls, sublayers_recorded(model) as sublayers:
        model.decoder(input_ids=tokens, use_cache=False)
    states = _states(model, calls)
    check_sublayers(model, states, sublayers)
    return Run(states, calls, sublayers=sublayers)


@torch.no_grad()
def corrupted_run(
    model: LanguageModel, ids: Sequence[int], start: int, noise: Float[Tensor, "R s D"]
) -> Run:
    """Read R copies of one sequence with noise on the embeddings of the tokens from ``start`` on.

    Args:
        model: the model.
        ids: the sequence.
        start: the first token with noise.
        noise: what is added to the embedding module's output, for each copy.
    """
    tokens = torch.tensor([list(ids)], device=model.device).expand(len(noise), -1)
    # Without a config every layer of the cache keeps all tokens, sliding windows too.
    cache = DynamicCache() if drives(model) else None
    with embeddings_shifted(model, start, noise), layer_calls(model) as calls:
        model.decoder(input_ids=tokens, past_key_values=cache, use_cache=cache is not None)
    states = _states(model, calls)
    if cache is None:
        return Run(states, calls)
    layers: list[Any] = cache.layers
    return Run(states, calls, [one.keys for one in layers], [one.values for one in layers])


def _states(model: LanguageModel, calls: Sequence[LayerCall]) -> list[Tensor]:
    """What the first layer was given, and what every layer gave."""
    call = calls[0]
    given = call.args[0] if call.args else call.kwargs["hidden_states"]
    outputs = [call.output for call in calls if call.output is not None]
    return [given, *outputs]
