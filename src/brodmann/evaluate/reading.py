"""`Reading`: prompts that a model has read once, and may then continue in several ways."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from brodmann.models.batches import accepts, left_padded, plan_batches, token_budget
from brodmann.models.language_model import LanguageModel

# What stands on padding is masked everywhere, and an id that every vocabulary has needs no pad
# token (some tokenizers have none, or one that the embedding lacks).
PAD_ID = 0

LAST_LOGITS = 2**27
"""Logits behind the prompts of a batch (B V): "auto" makes no batch with more."""

_IMMUTABLE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass
class Reading:
    """A batch of texts read so far, with the keys and values that are needed to go on.

    Attributes:
        model: the model that reads.
        cache: its keys and values.
        mask: 1 for tokens and 0 for padding, of all columns so far [B, T].
    """

    model: LanguageModel
    cache: Any
    mask: Int[Tensor, "B T"]

    def extend(
        self, ids: Int[Tensor, "B k"], mask: Int[Tensor, "B k"] | None = None
    ) -> Float[Tensor, "B k V"]:
        """Read k more tokens of each text; the mask is 0 on padding behind.

        Returns:
            The logits behind each of them, float32 (float64 for float64 models).
        """
        ids = ids.to(self.mask.device)
        new = torch.ones_like(ids) if mask is None else mask.to(ids.device)
        positions = self.mask.sum(-1, keepdim=True) + new.cumsum(-1) - 1
        if self.model.max_tokens is not None:  # texts that have ended go on beside the others
            positions = positions.clamp(max=self.model.max_tokens - 1)
        self.mask = torch.cat([self.mask, new], dim=-1)
        inputs = {"input_ids": ids, "attention_mask": self.mask, "past_key_values": self.cache}
        if accepts(self.model.hf, "position_ids"):
            inputs["position_ids"] = positions
        return _precise(self.model.hf(**inputs, use_cache=True).logits).to(ids.device)

    def fork(self) -> "Reading":
        """Return a reading that goes on from here without touching this one."""
        layers = getattr(self.cache, "layers", [])
        if not layers or any(type(layer) not in _IMMUTABLE_LAYERS for layer in layers):
            return Reading(self.model, copy.deepcopy(self.cache), self.mask)
        cache = copy.copy(self.cache)  # these layers replace their tensors and never write to them
        cache.layers = [copy.copy(layer) for layer in layers]
        return Reading(self.model, cache, self.mask)

    def keep(self, rows: Int[Tensor, "b"]) -> None:
        """Go on with these rows of the batch only."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]


@torch.no_grad()
def read(
    model: LanguageModel, prompts: Sequence[Sequence[int]]
) -> tuple[Reading, Float[Tensor, "B V"]]:
    """Read prompts of unequal length as one batch, padded in front.

    Args:
        model: the model.
        prompts: token ids; none empty.

    Returns:
        The reading, and the logits behind each prompt [B, V].
    """
    batch = left_padded(prompts, PAD_ID, model.device)
    inputs: dict[str, Any] = dict(batch.inputs_for(model.hf))
    if accepts(model.hf, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    output = model.hf(**inputs, use_cache=True)
    reading = Reading(model, output.past_key_values, batch.attention_mask)
    return reading, _precise(output.logits[:, -1]).to(model.device)


def plan_reading(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    batch_size: int | Literal["auto"],
) -> list[list[int]]:
    """Plan batches for :func:`read`; see :func:`brodmann.models.batches.plan_batches`.

    Float64 models with HF's eager attention are not padded in front: their softmax is taken in
    float32, where a mask made for float64 is minus infinity, and padding becomes NaN. Their
    batches hold prompts of one length.

    Args:
        model: the model that will read.
        prompts: token ids of each prompt.
        lengths: tokens of each prompt with what may follow it.
        batch_size: prompts of a batch, or "auto".
    """
    plan = plan_batches(lengths, batch_size, token_budget(model.hf))
    if batch_size == "auto":
        most = max(1, LAST_LOGITS // int(model.hf.config.get_text_config().vocab_size))
        plan = [part[i : i + most] for part in plan for i in range(0, len(part), most)]
    attention = getattr(model.hf.config, "_attn_implementation", None)
    if model.dtype != torch.float64 or attention != "eager":
        return plan
    size: Callable[[int], int] = lambda index: len(prompts[index])  # noqa: E731
    return [list(alike) for part in plan for _, alike in groupby(sorted(part, key=size), size)]


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
