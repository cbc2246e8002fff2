"""Running sums of per-sample scores, kept apart by capability and by block of samples.

Sixteen blocks cost nothing and give standard errors, bootstrap intervals of overlaps and the
convergence curve for free. Sums are float64 on the device that computes the scores.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.localize.processes import rank_and_count, summed
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores

BLOCKS = 16


class ScoreSums:
    """Sums and squared sums of scores for several groups of samples (capabilities).

    Sample i of a group belongs to block i mod 16, so that any prefix of the samples is spread
    evenly over the blocks.

    Attributes:
        rule: what the sums depend on besides the scores, for a checkpoint.
    """

    rule: Mapping[str, Any] = {}

    def __init__(self, model: LanguageModel, n_groups: int) -> None:
        """Start from zero for ``n_groups`` groups."""
        self.n_groups = n_groups
        self._real = model.real
        self._dtype = model.score_dtype
        widths = [site.n_neurons for site in model.sites]
        self._sums = [
            torch.zeros(n_groups * BLOCKS, width, dtype=torch.float64) for width in widths
        ]
        self._squares = [torch.zeros(n_groups, width, dtype=torch.float64) for width in widths]
        self._counts = torch.zeros(n_groups * BLOCKS, dtype=torch.int64)

    def add(
        self,
        scores: Sequence[Float[Tensor, "B _"]],
        groups: Int[Tensor, "B"],
        samples: Int[Tensor, "B"],
    ) -> None:
        """Add a batch of samples.

        Args:
            scores: each sample's scores, layer by layer.
            groups: each one's group.
            samples: its index in the group.
        """
        keys = groups * BLOCKS + samples % BLOCKS
        self._counts.index_add_(0, keys, torch.ones_like(groups))
        for layer, values in enumerate(scores):
            device = torch.device("cpu") if values.device.type == "mps" else values.device
            wide = values.detach().to(device).double()
            self._sums[layer] = self._sums[layer].to(device)
            self._squares[layer] = self._squares[layer].to(device)
            self._sums[layer].index_add_(0, keys.to(device), wide)
            self._squares[layer].index_add_(0, groups.to(device), wide.square())

    def scores(self, group: int, provenance: dict[str, object]) -> NeuronScores:
        """The mean scores of one group."""
        span = slice(group * BLOCKS, (group + 1) * BLOCKS)
        return NeuronScores.from_sums(
            _stacked([layer[span] for layer in self._sums], self._real.shape[1]),
            self._counts[span],
            _stacked([layer[group] for layer in self._squares], self._real.shape[1]),
            real=self._real,
            provenance=provenance,
            dtype=self._dtype,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The state, for a checkpoint."""
        state = {"counts": self._counts.clone()}
        for layer, (sums, squares) in enumerate(zip(self._sums, self._squares, strict=True)):
            state[f"sums.{layer}"] = sums.cpu()
            state[f"squares.{layer}"] = squares.cpu()
        return state

    def over_processes(self) -> "ScoreSums":
        """The sums of all processes together; these themselves where there is only one."""
        if rank_and_count()[1] == 1:
            return self
        total = copy.copy(self)
        total._counts = summed(self._counts)
        total._sums = [summed(layer) for layer in self._sums]
        total._squares = [summed(layer) for layer in self._squares]
        return total

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put a checkpoint's state back."""
        self._counts = state["counts"].clone()
        for layer in range(len(self._sums)):
            self._sums[layer] = state[f"sums.{layer}"].clone()
            self._squares[layer] = state[f"squares.{layer}"].clone()


def _stacked(layers: Sequence[Tensor], width: int) -> Tensor:
    """Pad each layer's last axis to the widest and stack the layers before it."""
    padded = [
        torch.nn.functional.pad(layer.cpu(), (0, width - layer.shape[-1])) for layer in layers
    ]
    return torch.stack(padded, dim=-2)
