"""A hash that tells models apart: scores and sets carry it."""

import hashlib

import torch
from accelerate.utils import align_module_device
from torch import nn

_SAMPLES_PER_TENSOR = 256


@torch.no_grad()
def fingerprint(hf: nn.Module) -> str:
    """Hash the model type, every parameter's name and shape, and a sample of its numbers.

    Evenly spaced entries of each tensor are read, rounded to bfloat16 so that one checkpoint has
    one fingerprint in float32 and in bfloat16, on any device. Cheap (about 256 numbers a tensor)
    and changed by training, editing or baking; not a defence against forgery.

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
                digest.update(_sample(parameter))
    return digest.hexdigest()[:16]


def _sample(parameter: torch.Tensor) -> bytes:
    local = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    flat = local.detach().reshape(-1)
    step = max(1, flat.numel() // _SAMPLES_PER_TENSOR)
    chosen = flat[::step][: 2 * _SAMPLES_PER_TENSOR].cpu()
    if chosen.is_floating_point():
        chosen = chosen.to(torch.bfloat16).view(torch.int16)
    return chosen.contiguous().numpy().tobytes()
