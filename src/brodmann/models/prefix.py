"""`read_prefix`: one pass over padded sequences that keeps what later passes start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from brodmann.models.activations import Activations, LayerCall, captured, layer_calls
from brodmann.models.batches import accepts, right_padded
from brodmann.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class Prefix:
    """A batch of B sequences as the model read them, at P chosen tokens.

    Attributes:
        site: what the activations are: ``"down_in"`` or ``"pre"``.
        owners: the row b of each chosen token [P].
        positions: its place t in the row [P].
        input_ids: the padded tokens [B, T].
        layers: layer -> activations at the chosen tokens, with what the MLP wrote.
        calls: how each layer was called; its output at the chosen tokens [P, D].
        keys: of each layer, after rotation and before any window cuts them, [B, Hkv, T, d].
        values: likewise.
        final: the decoder's output (behind the final norm) at the chosen tokens.
    """

    site: str
    owners: Int[Tensor, "P"]
    positions: Int[Tensor, "P"]
    input_ids: Int[Tensor, "B T"]
    layers: dict[int, Activations]
    calls: list[LayerCall]
    keys: list[Float[Tensor, "B Hkv T d"]]
    values: list[Float[Tensor, "B Hkv T d"]]
    final: Float[Tensor, "P D"]


@torch.no_grad()
def read_prefix(
    model: LanguageModel,
    sequences: Sequence[Sequence[int]],
    owners: Int[Tensor, "P"],
    positions: Int[Tensor, "P"],
    site: str = "down_in",
) -> Prefix:
    """Run the decoder once over sequences padded behind, without a mask.

    Attention looks back only, so that what stands behind a sequence cannot reach it.

    Args:
        model: the model.
        sequences: token ids.
        owners: which sequence each chosen token is of.
        positions: its place in the sequence.
        site: which activations to keep, as :func:`brodmann.models.activations.captured` names them.
    """
    padded = right_padded(sequences, model.pad_id, model.device)
    flat = owners * padded.input_ids.shape[1] + positions
    # Without a config every layer of the cache keeps all tokens, sliding windows too.
    cache = DynamicCache()
    with (
        captured(model, flat, written=True, site=site) as layers,
        layer_calls(model, flat) as calls,
    ):
        output = model.decoder(
            input_ids=padded.input_ids, past_key_values=cache, use_cache=True
        ).last_hidden_state
    for call in calls:
        _forget_input(call)
    final = output.reshape(-1, output.shape[-1])[flat.to(output.device)]
    kept: list[Any] = cache.layers
    keys, values = [layer.keys for layer in kept], [layer.values for layer in kept]
    return Prefix(site, owners, positions, padded.input_ids, layers, calls, keys, values, final)


def last_token_again(
    model: LanguageModel, prefix: Prefix, task: int, rows: int
) -> Float[Tensor, "rows D"]:
    """The decoder's output for copies of one chosen token, behind an expanded cache.

    Args:
        model: the model.
        prefix: the sequences, read before.
        task: index of a chosen token.
        rows: how many copies.
    """
    owner, position = int(prefix.owners[task]), int(prefix.positions[task])
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(zip(prefix.keys, prefix.values, strict=True)):
        seen = [part[owner, :, :position].expand(rows, -1, -1, -1) for part in (keys, values)]
        cache.update(seen[0], seen[1], layer)
    inputs: dict[str, Tensor] = {
        "input_ids": prefix.input_ids[owner, position].expand(rows, 1),
        "attention_mask": torch.ones(rows, position + 1, dtype=torch.long, device=model.device),
    }
    if accepts(model.decoder, "position_ids"):
        inputs["position_ids"] = torch.full((rows, 1), position, device=model.device)
    output = model.decoder(**inputs, past_key_values=cache, use_cache=True)
    return output.last_hidden_state[:, 0]


def _forget_input(call: LayerCall) -> None:
    """Let go of the hidden states [B, T, D] that a layer was given: every layer's are many."""
    if call.args:
        call.args = (None, *call.args[1:])
    elif "hidden_states" in call.kwargs:
        call.kwargs = call.kwargs | {"hidden_states": None}
