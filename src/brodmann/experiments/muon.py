"""Muon: momentum whose matrices are made orthogonal, in a few lines, float32."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_MOMENTUM, _WEIGHT_DECAY, _ROUNDS = 0.95, 0.1, 5


class Muon(torch.optim.Optimizer):
    """Update weight matrices by their orthogonalised momentum.

    torch.optim.Muon calculates in bfloat16, which is slow on CPUs that lack it. Matrices of one
    shape are made orthogonal together.

    Args:
        matrices: the weights, each of two dimensions.
        lr: the learning rate.
    """

    def __init__(self, matrices: Sequence[nn.Parameter], lr: float) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        super().__init__([{"params": alike} for alike in by_shape.values()], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyrefly: ignore
        """Update all matrices that have gradients."""
        for group in self.param_groups:
            matrices, lr = group["params"], group["lr"]
            gradient = torch.stack([matrix.grad for matrix in matrices])
            state = self.state[matrices[0]]
            momentum = state.setdefault("momentum", torch.zeros_like(gradient))
            momentum.lerp_(gradient, 1 - _MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, _MOMENTUM))
            rows, columns = matrices[0].shape
            size = lr * math.sqrt(max(1, rows / columns))
            for matrix, change in zip(matrices, update, strict=True):
                matrix.mul_(1 - lr * _WEIGHT_DECAY).sub_(change, alpha=size)


def orthogonal(matrices: Float[Tensor, "n a b"]) -> Float[Tensor, "n a b"]:
    """Bring all singular values near 1, by the Newton-Schulz steps of Muon."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x if wide else x.mT
