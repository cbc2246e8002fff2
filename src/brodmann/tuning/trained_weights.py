"""The parameters that are trained: read whole from any sharding, and put back."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from brodmann.errors import MismatchError

Weights = dict[str, Float[Tensor, "..."]]


def trained_weights(module: nn.Module) -> Weights:
    """Return copies of all parameters that take gradients, whole and on the CPU.

    Every process must call it: parameters that FSDP has spread over processes are gathered.

    Args:
        module: a model, with or without an adapter.
    """
    return {
        name: _whole(parameter.detach()).to("cpu", copy=True)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def put_back(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write what :func:`trained_weights` returned into the parameters that take gradients.

    Args:
        module: the model they come from, or one like it.
        weights: name -> values.

    Raises:
        MismatchError: other parameters take gradients than the weights are of.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if {n: p.shape for n, p in trained.items()} != {n: w.shape for n, w in weights.items()}:
        raise MismatchError(
            f"Expected the weights of the {len(trained)} parameters that are trained; got "
            f"{len(weights)} of other names or shapes. Train what was trained then, or start anew."
        )
    for name, parameter in trained.items():
        parameter.copy_(_like(parameter, weights[name].to(parameter.device)))


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
