"""Which entries of which parameters are a neuron's own: rows of gate and up, a column of down."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from brodmann.errors import InputError, ModelError
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite
from brodmann.models.weights import base_layer, is_quantised


@dataclass(frozen=True, eq=False)
class NeuronSlice:
    """The part of one parameter that belongs to some neurons of a layer.

    Attributes:
        parameter: a projection's weight or bias, or the stacked ones of all experts.
        kind: ``"row"`` of gate or up, their ``"bias"``, or ``"column"`` of down.
        dim: the axis of the parameter that the neurons lie along.
        indices: the neurons' places on that axis.
        experts: each neuron's place on the parameter's first axis, in layers of experts.
    """

    parameter: nn.Parameter
    kind: Literal["row", "bias", "column"]
    dim: int
    indices: Int[Tensor, "k"]
    experts: Int[Tensor, "k"] | None = None

    def read(self, source: Shaped[Tensor, "..."] | None = None) -> Shaped[Tensor, "k ..."]:
        """Copy what belongs to each neuron out of the parameter, or of a tensor of its shape."""
        source = self.parameter.detach() if source is None else source
        by_neuron, places = self._by_neuron(source)
        return by_neuron[places]

    @torch.no_grad()
    def write(self, values: Tensor | float, target: Tensor | None = None) -> None:
        """Set what belongs to the neurons, in the parameter or in a tensor of its shape."""
        target = self.parameter.detach() if target is None else target
        by_neuron, places = self._by_neuron(target)
        if isinstance(values, Tensor):
            by_neuron[places] = values.to(target)
        else:
            by_neuron[places] = values

    @property
    def count(self) -> int:
        """How many numbers belong to the neurons."""
        axes = {self.dim} if self.experts is None else {0, self.dim}
        other = (size for axis, size in enumerate(self.parameter.shape) if axis not in axes)
        return len(self.indices) * torch.Size(other).numel()

    def _by_neuron(self, tensor: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A view with the neurons' axes in front, and their places on these."""
        indices = self.indices.to(tensor.device)
        if self.experts is None:
            return tensor.movedim(self.dim, 0), (indices,)
        return tensor.movedim(self.dim, 1), (self.experts.to(tensor.device), indices)


def neuron_slices(site: NeuronSite, indices: Int[Tensor, "k"]) -> list[NeuronSlice]:
    """Find what belongs to some neurons of a layer: all of it, and nothing of other neurons.

    Args:
        site: the layer.
        indices: neurons in it; in layers of experts, expert * width + index.

    Returns:
        Rows of up and gate, their biases, and columns of down; each slice holds every neuron
        given, in the order given. The layer's output bias is no neuron's.

    Raises:
        ModelError: packed weights, or weights that ``device_map`` keeps elsewhere.
        InputError: a neuron that the layer does not have.
    """
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < site.n_neurons:
        raise InputError(
            f"Expected neurons from 0 to {site.n_neurons - 1} in layer {site.layer}; got "
            f"{int(indices.min())} to {int(indices.max())}."
        )
    if isinstance(site, ExpertSite):
        slices = _of_experts(site, indices)
    else:
        assert isinstance(site, DenseSite)
        slices = _of_dense(site, indices)
    if any(part.parameter.is_meta for part in slices):
        raise ModelError(
            f"Expected the weights of layer {site.layer} in memory; device_map keeps them "
            "elsewhere. Load the model with device='cpu'."
        )
    return slices


def _of_dense(site: DenseSite, indices: Tensor) -> list[NeuronSlice]:
    if any(is_quantised(module) for module in (site.down, *site.inward)):
        raise _packed(site)
    slices = []
    for module in site.inward:
        base = base_layer(module)
        across = 1 if isinstance(base, Conv1D) else 0  # Conv1D keeps [in, out]
        for first in range(0, base.weight.shape[across], site.n_neurons):  # two where fused
            rows = indices + first
            slices.append(NeuronSlice(base.weight, "row", across, rows))
            if base.bias is not None:
                slices.append(NeuronSlice(base.bias, "bias", 0, rows))
    down = base_layer(site.down)
    slices.append(NeuronSlice(down.weight, "column", int(not isinstance(down, Conv1D)), indices))
    return slices


def _of_experts(site: ExpertSite, indices: Tensor) -> list[NeuronSlice]:
    experts: Any = base_layer(site.experts)
    if site.quantised:
        raise _packed(site)
    expert, inner = indices // site.width, indices % site.width
    transposed = getattr(experts, "is_transposed", False)  # [E, in, out] in place of [E, out, in]
    stacked, bias = expert_inward(experts)
    slices = []
    for rows in expert_rows(experts, inner, site.width):
        slices.append(NeuronSlice(stacked, "row", 2 if transposed else 1, rows, expert))
        if bias is not None:
            slices.append(NeuronSlice(bias, "bias", 1, rows, expert))
    slices.append(NeuronSlice(experts.down_proj, "column", 1 if transposed else 2, inner, expert))
    return slices


def expert_inward(experts: Any) -> tuple[nn.Parameter, nn.Parameter | None]:
    """The stacked weights into the neurons of all experts, and their biases."""
    name = "gate_up_proj" if getattr(experts, "has_gate", True) else "up_proj"
    return getattr(experts, name), getattr(experts, f"{name}_bias", None)


def expert_rows(experts: Any, inner: Int[Tensor, "k"], width: int) -> list[Int[Tensor, "k"]]:
    """Where gate and up of each neuron of an expert lie: in two halves, or in turns.

    Args:
        experts: the module.
        inner: neurons, counted within the expert.
        width: neurons of one expert.

    Returns:
        Rows of gate, and rows of up; up's alone where there is no gate.
    """
    if not getattr(experts, "has_gate", True):
        return [inner]
    if getattr(experts, "is_concatenated", True):
        return [inner, inner + width]
    return [2 * inner, 2 * inner + 1]


def _packed(site: NeuronSite) -> ModelError:
    return ModelError(
        f"Expected weights in floating point in layer {site.layer}; they are packed by "
        "quantisation. Load the full-precision model."
    )
