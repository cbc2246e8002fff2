"""Read a projection's weight as a dense matrix, wherever and however the module keeps it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import align_module_device
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from brodmann.errors import ModelError

_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@contextmanager
def dense_weight(module: nn.Module) -> Iterator[Float[Tensor, "out in"]]:
    """The weight of a linear map as [out, in], valid inside the ``with`` block.

    Plain weights are given as they are (a view, do not write to it); Conv1D is transposed; 4-bit
    and 8-bit weights of bitsandbytes are dequantised; an unmerged adapter's delta is added; a
    weight that ``device_map`` keeps elsewhere is brought to its execution device.

    Raises:
        ModelError: the weight cannot be read as numbers.
    """
    base = base_layer(module)
    with in_place(base):
        weight = _dequantised(base)
        if isinstance(base, Conv1D):
            weight = weight.T
        for adapter, name in _unmerged_adapters(module):
            delta = adapter.get_delta_weight(name)
            weight = weight + (delta.T if isinstance(base, Conv1D) else delta).to(weight.dtype)
        yield weight


@contextmanager
def in_place(module: nn.Module) -> Iterator[None]:
    """Inside the block a module's own weights are where it computes, also if offloaded."""
    with align_module_device(module), torch.no_grad():
        yield


def is_quantised(module: nn.Module) -> bool:
    """Whether the module keeps packed or integer weights that cannot be written to."""
    weight = getattr(base_layer(module), "weight", None)
    return weight is None or is_packed(weight)


def is_packed(weight: Tensor) -> bool:
    """Whether a weight is not a matrix of numbers that can be added to (4, 8 bits, float8)."""
    return weight.dtype not in _PLAIN or hasattr(weight, "quant_state")


def base_layer(module: nn.Module) -> Any:
    """The layer itself, without an adapter's wrapper.

    Typed Any: Hugging Face modules carry attributes that their types do not declare.
    """
    wrapper: Any = module
    return wrapper.get_base_layer() if hasattr(module, "get_base_layer") else module


def _unmerged_adapters(module: nn.Module) -> list[tuple[Any, str]]:
    wrapper: Any = module
    if not hasattr(module, "get_base_layer") or wrapper.disable_adapters or wrapper.merged:
        return []
    own = getattr(wrapper, wrapper.adapter_layer_names[0])
    return [(wrapper, name) for name in wrapper.active_adapters if name in own]


def _dequantised(base: Any) -> Tensor:
    weight = base.weight
    if hasattr(weight, "full_tensor"):  # a DTensor shard (FSDP2)
        weight = weight.full_tensor()
    if getattr(weight, "quant_state", None) is not None:
        return _dequantised_4bit(weight.data, weight.quant_state)
    if weight.dtype == torch.int8 and hasattr(weight, "SCB"):
        from bitsandbytes.functional import int8_vectorwise_dequant

        scale = weight.SCB if weight.SCB is not None else base.state.SCB
        return int8_vectorwise_dequant(weight.data, scale)
    if weight.dtype not in _PLAIN:
        raise ModelError(
            f"Expected weights in floating point or in bitsandbytes' 4 or 8 bits; got "
            f"{type(base).__name__} with {weight.dtype}. Load the model without this quantisation."
        )
    return weight


def _dequantised_4bit(packed: Tensor, state: Any) -> Tensor:
    """Read 4 bits of bitsandbytes, also after it has ordered them anew for a CPU with bfloat16.

    It does so at the first forward pass, in place, and what is ordered so reads as noise otherwise.
    """
    from bitsandbytes import functional

    if not getattr(state, "packing_format_for_cpu", False):
        return functional.dequantize_4bit(packed, state)
    scales = state.absmax.T.reshape(-1).float().contiguous()
    plain = copy.copy(state)  # the inverse writes into the state that it is given
    plain.original_nested = False
    ordered, plain = functional._convert_weight_packed_for_cpu_inverse(packed, plain)
    plain.absmax = scales
    return functional.dequantize_4bit(ordered, plain)
