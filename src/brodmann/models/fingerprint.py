"""A hash that tells models apart: scores and sets carry it."""

import hashlib
import json
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase

_CHUNK = 2**24
"""Numbers that are rounded and summed at a time."""


@torch.no_grad()
def fingerprint(hf: nn.Module) -> str:
    """Hash the model type and every parameter's name, shape and numbers.

    All numbers enter, rounded to bfloat16 so that one checkpoint has one fingerprint in float32
    and in bfloat16: their bits are summed with weights that depend on the place, in integers, so
    that the sum is the same on every device. Changed by training, editing or baking a single
    neuron; not a defence against forgery.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(str(getattr(hf.config, "model_type", "")).encode())
    for module_name, module in hf.named_modules():
        own = list(module.named_parameters(recurse=False))
        if not own:
            continue
        with align_module_device(module):
            for name, parameter in module.named_parameters(recurse=False):
                digest.update(f"{module_name}.{name}{tuple(parameter.shape)}".encode())
                digest.update(str(_checksum(parameter)).encode())
    return digest.hexdigest()[:16]


def _checksum(parameter: torch.Tensor) -> int:
    local = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    flat = local.detach().reshape(-1)
    total = 0
    for start in range(0, flat.numel(), _CHUNK):
        part = flat[start : start + _CHUNK]
        if part.is_floating_point():
            part = part.to(torch.bfloat16).view(torch.int16)
        places = torch.arange(start, start + len(part), device=part.device)
        weights = places * 2654435761 % 2147483647 + 1
        total += int((part.long() * weights).sum())
    return total


_ELSEWHERE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
"""Of a configuration, what says where the model is from, or is told apart by other means."""


def reading_digest(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash what decides a model's answers besides its weights: configuration and tokenizer.

    Two models of the same weights differ in them: by the base of rotary positions, by a scale, by
    how a text becomes tokens. Padding and truncation are ours, and are left out.

    Returns:
        16 hexadecimal digits.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    tokens: dict[str, Any] = {"class": type(tokenizer).__name__}
    if backend is None:
        tokens["vocabulary"] = tokenizer.get_vocab()
    else:
        tokens |= json.loads(backend.to_str())
    tokens |= {"padding": None, "truncation": None, "special": tokenizer.special_tokens_map}
    told = {"config": _without_origin(config.to_dict()), "tokenizer": tokens}
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_origin(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(k): _without_origin(v) for k, v in values.items() if k not in _ELSEWHERE}
    return values
