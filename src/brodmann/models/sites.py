"""`NeuronSite`: the neurons of one layer, and what each of them writes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.errors import InputError
from brodmann.models.weights import base_layer, dense_weight, in_place, is_quantised


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronSite(ABC):
    """The MLP neurons of one layer: the entries of the input of its down projection.

    Attributes:
        layer: index of the layer, from the bottom.
        n_neurons: neurons (n); experts are concatenated.
        layer_module: the decoder layer.
        mlp: the module that holds the projections.
        post_norm: the norm that the MLP output passes before the residual add, or None.
        multiplier: the factor on the MLP output at the residual add.
        activation: the module of the non-linearity, or None where it cannot be observed.
    """

    layer: int
    n_neurons: int
    layer_module: nn.Module
    mlp: nn.Module
    post_norm: nn.Module | None
    multiplier: float
    activation: nn.Module | None

    @property
    @abstractmethod
    def writer(self) -> nn.Module:
        """The module whose output is what the MLP writes (before post-norm and multiplier)."""

    @property
    @abstractmethod
    def quantised(self) -> bool:
        """Whether the down projection's weights are packed and cannot be edited."""

    @property
    @abstractmethod
    def parameters_per_neuron(self) -> int:
        """Weights and biases that belong to one neuron: rows of up and gate, a column of down."""

    @abstractmethod
    def columns(self, indices: Int[Tensor, "k"]) -> Float[Tensor, "k D"]:
        """What one unit of each neuron writes: its column of W_down (routing weight 1)."""

    @abstractmethod
    def project(
        self, directions: Float[Tensor, "P D"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P n"]:
        """<directions[p], column j> for all neurons, times the routing weight of its expert."""

    @abstractmethod
    def write(
        self, z: Float[Tensor, "P n"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P D"]:
        """What the neurons write together, bias included; slow, for checks."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseSite(NeuronSite):
    """One MLP with one down projection: a linear layer, a Conv1D or a quantised linear layer.

    Attributes:
        down: the down projection.
        inward: the projections into the neurons (up and gate, or both fused).
    """

    down: nn.Module
    inward: tuple[nn.Module, ...]

    @property
    def gated(self) -> bool:
        """Whether z = act(gate x) * up x; else z = act(up x)."""
        return len(self.inward) > 1 or self._rows_per_neuron(self.inward[0]) > 1

    def _rows_per_neuron(self, inward: nn.Module) -> int:
        with dense_weight(inward) as weight:
            return weight.shape[0] // self.n_neurons  # 2 where gate and up are fused

    def rows(self, inward: nn.Module, indices: Int[Tensor, "k"]) -> Int[Tensor, "r"]:
        """Which rows of a projection into the neurons, as [out, in], are theirs; gates first."""
        repeats = self._rows_per_neuron(inward)
        return torch.cat([indices + part * self.n_neurons for part in range(repeats)])

    @property
    def writer(self) -> nn.Module:
        """The down projection."""
        return self.down

    @property
    def quantised(self) -> bool:
        """Whether the down projection's weights are packed."""
        return is_quantised(self.down)

    @property
    def parameters_per_neuron(self) -> int:
        """Rows of up and gate (with their biases) and a column of down."""
        with dense_weight(self.down) as weight:
            total = weight.shape[0]
        for module in self.inward:
            rows = self._rows_per_neuron(module)
            with dense_weight(module) as weight:
                total += rows * weight.shape[1]
            total += rows * (getattr(module, "bias", None) is not None)
        return total

    def columns(self, indices: Int[Tensor, "k"]) -> Float[Tensor, "k D"]:
        """Columns of W_down."""
        with dense_weight(self.down) as weight:
            return weight[:, indices.to(weight.device)].T.clone()

    def project(
        self, directions: Float[Tensor, "P D"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P n"]:
        """<directions[p], column j of W_down>."""
        with dense_weight(self.down) as weight:
            return directions.to(weight.device) @ weight.to(directions.dtype)

    def write(
        self, z: Float[Tensor, "P n"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P D"]:
        """W_down z + bias."""
        with dense_weight(self.down) as weight:
            written = z @ weight.T.to(z.dtype)
            bias = getattr(base_layer(self.down), "bias", None)
            return written if bias is None else written + bias.to(z.dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpertSite(NeuronSite):
    """The experts of one mixture-of-experts layer: neuron = expert * width + index in the expert.

    The router decides which experts see a token; the neurons of the others are 0 there.

    Attributes:
        experts: the module that holds the experts' stacked weights.
        n_experts: experts (E).
    """

    experts: Any
    n_experts: int

    @property
    def width(self) -> int:
        """Neurons of one expert."""
        return self.n_neurons // self.n_experts

    @property
    def writer(self) -> nn.Module:
        """The experts together."""
        return self.experts

    @property
    def quantised(self) -> bool:
        """Whether the stacked weights are not plain floating point."""
        return not self.experts.down_proj.is_floating_point()

    @property
    def parameters_per_neuron(self) -> int:
        """Rows of gate and up and a column of down of one expert (gate_up and down biases too)."""
        width = self.down(0).shape[0]
        return 3 * width + 2 * bool(getattr(self.experts, "has_bias", False))

    def down(self, expert: int) -> Float[Tensor, "D w"]:
        """W_down of one expert, as [D, width]."""
        weight = self.experts.down_proj[expert]
        return weight.T if getattr(self.experts, "is_transposed", False) else weight

    def columns(self, indices: Int[Tensor, "k"]) -> Float[Tensor, "k D"]:
        """Columns of the experts' W_down, before the routing weight."""
        pairs = [divmod(int(index), self.width) for index in indices]
        if not pairs:
            return self.down(0).new_zeros(0, self.down(0).shape[0])
        with in_place(self.experts):
            return torch.stack([self.down(expert)[:, j] for expert, j in pairs])

    def project(
        self, directions: Float[Tensor, "P D"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P n"]:
        """routing[p, e] * directions[p] @ W_down[e]; 0 for experts that did not see the token."""
        routing = self._required(routing)
        out = directions.new_zeros(len(directions), self.n_neurons)
        with in_place(self.experts):
            for expert in range(self.n_experts):
                rows = routing[:, expert].nonzero()[:, 0]
                if len(rows):
                    weight = self.down(expert).to(directions.dtype)
                    part = (directions[rows].to(weight.device) @ weight).to(out.device)
                    span = slice(expert * self.width, (expert + 1) * self.width)
                    out[rows, span] = part * routing[rows, expert, None].to(part)
        return out

    def write(
        self, z: Float[Tensor, "P n"], routing: Float[Tensor, "P E"] | None
    ) -> Float[Tensor, "P D"]:
        """Sum over experts of routing * W_down[e] z[e] (+ the expert's bias)."""
        routing = self._required(routing)
        out = z.new_zeros(len(z), self.down(0).shape[0])
        with in_place(self.experts):
            for expert in range(self.n_experts):
                span = slice(expert * self.width, (expert + 1) * self.width)
                part = z[:, span] @ self.down(expert).T.to(z.dtype)
                if getattr(self.experts, "has_bias", False):
                    part = part + self.experts.down_proj_bias[expert].to(z.dtype)
                out = out + routing[:, expert, None].to(z.dtype) * part
        return out

    def _required(self, routing: Tensor | None) -> Tensor:
        if routing is None:
            raise InputError(
                f"Layer {self.layer} is a mixture of experts: expected routing weights [P, E] "
                "as captured with its activations; got none."
            )
        return routing
