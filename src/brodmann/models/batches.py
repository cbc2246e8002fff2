"""Batches: which sequences go together, and padding that no model can see."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from brodmann.errors import InputError

CPU_TOKENS = 2048
"""Tokens of a batch on a CPU: more brings no speed, only memory."""

CUDA_TOKENS = (4096, 131072)
"""Fewest and most tokens of a batch on a GPU."""


@dataclass(frozen=True)
class PaddedBatch:
    """Sequences of unequal length as one rectangle.

    Attributes:
        input_ids: token ids [B, T], the padding id where there is no token.
        attention_mask: 1 for tokens, 0 for padding [B, T].
        position_ids: the place of each token in its own sequence [B, T]; 0 on padding in front,
            the last token's place on padding behind.
    """

    input_ids: Int[Tensor, "B T"]
    attention_mask: Int[Tensor, "B T"]
    position_ids: Int[Tensor, "B T"]

    def inputs_for(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the keyword arguments of ``module``'s forward pass.

        Args:
            module: a Hugging Face causal LM (``model.hf``) or its decoder (``model.decoder``).
                Position ids are left out where its forward has none (bloom, mpt: their ALiBi
                distances do not change with padding).
        """
        inputs = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        if accepts(module, "position_ids"):
            inputs["position_ids"] = self.position_ids
        return inputs


def accepts(module: nn.Module, argument: str) -> bool:
    """Tell whether the forward of a Hugging Face model names ``argument``.

    An adapter around the model (PEFT) is asked for the model inside: its own forward hands every
    keyword on.
    """
    inner = getattr(module, "get_base_model", None)
    forward = (inner() if callable(inner) else module).forward
    return argument in inspect.signature(forward).parameters


def plan_batches(
    lengths: Sequence[int],
    batch_size: int | Literal["auto"] = "auto",
    max_tokens: int = CPU_TOKENS,
) -> list[list[int]]:
    """Group sequences of similar length, the longest first.

    The plan depends on its arguments alone, and is a plain list to keep in ``run.json``: the same
    plan gives the same bits.

    Args:
        lengths: tokens of each sequence.
        batch_size: sequences of a batch, or "auto": as many as keep the padded batch within
            ``max_tokens`` (one at least, however long).
        max_tokens: padded tokens of a batch under "auto"; see :func:`token_budget`.

    Returns:
        The indices of the sequences, batch by batch; each index once.

    Raises:
        InputError: when the batch size is not a positive number or "auto".
    """
    fixed = batch_size if isinstance(batch_size, int) else None
    if (fixed is None and batch_size != "auto") or (fixed is not None and fixed < 1):
        raise InputError(f"Expected a batch size of 1 or more, or 'auto'; got {batch_size!r}.")
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    plan: list[list[int]] = []
    room = 0
    for index in order:
        if room == 0:
            plan.append([])
            room = fixed or max(1, max_tokens // max(1, lengths[index]))
        plan[-1].append(index)
        room -= 1
    return plan


def token_budget(module: nn.Module) -> int:
    """Return how many padded tokens a batch of a forward pass may hold on ``module``'s device.

    A fixed number on a CPU. On a GPU half of the free memory, at a generous estimate of what one
    token needs: keys and values of every layer, and the widest activations of one.
    """
    parameter = next(module.parameters())
    if parameter.device.type != "cuda":
        return CPU_TOKENS
    config = module.config.get_text_config()  # pyrefly: ignore[missing-attribute]
    width, layers = config.hidden_size, config.num_hidden_layers
    per_token = parameter.element_size() * width * (2 * layers + 32)
    free, _ = torch.cuda.mem_get_info(parameter.device)
    fewest, most = CUDA_TOKENS
    return max(fewest, min(most, free // 2 // per_token))


def right_padded(
    sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu"
) -> PaddedBatch:
    """Pad token ids behind, to the longest sequence.

    Args:
        sequences: token ids, none of them empty.
        pad_id: what stands on padding; any id of the vocabulary will do.
        device: where the batch goes.
    """
    return _padded(sequences, pad_id, device, left=False)


def left_padded(
    sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu"
) -> PaddedBatch:
    """Pad token ids in front, to the longest sequence; arguments as in :func:`right_padded`."""
    return _padded(sequences, pad_id, device, left=True)


def _padded(
    sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device | str, *, left: bool
) -> PaddedBatch:
    if not sequences or not all(sequences):
        raise InputError("Expected sequences of one token or more to pad; got an empty one.")
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), None) if left else slice(len(sequence))
        ids[row, place] = torch.tensor(sequence)
        mask[row, place] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return PaddedBatch(ids.to(device), mask.to(device), positions.to(device))
