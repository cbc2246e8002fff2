"""The layers that stand around a projection and add what was learnt for some neurons."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from brodmann.errors import InputError, ModelError
from brodmann.models.weights import is_packed

Axis = Literal["row", "column"]


@dataclass(frozen=True)
class Place:
    """Which part of a projection belongs to the chosen neurons.

    Attributes:
        axis: ``"row"`` of W [out, in] where a projection leads into neurons, else ``"column"``.
        indices: which.
    """

    axis: Axis
    indices: Int[Tensor, "k"]


class NeuronTuningLayer(BaseTunerLayer):
    """What PEFT asks of a layer with adapters, for differences that are kept neuron by neuron.

    Indices are not parameters: they follow from the config, and are not in the adapter's file.
    """

    adapter_layer_names = ("brodmann_delta", "brodmann_bias")
    other_param_names = ("brodmann_places",)
    base_layer: nn.Module

    def __init__(self, base_layer: nn.Module) -> None:
        """Stand around ``base_layer``, without an adapter so far."""
        self.base_layer = base_layer
        self.brodmann_delta = nn.ParameterDict({})
        self.brodmann_bias = nn.ParameterDict({})
        self.brodmann_places: dict[str, Any] = {}
        self._before_merge: dict[str, list[Tensor]] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Use these adapters together, and train them unless in inference mode.

        Raises:
            InputError: two of them train the same neuron.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        self._check_disjoint(names)
        super().set_adapter(adapter_names, inference_mode=inference_mode)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add adapters to the base weights, and keep what was there.

        Args:
            safe_merge: refuse numbers that are not finite.
            adapter_names: which; the active ones by default.

        Raises:
            ModelError: packed weights, which cannot be added to.
            InputError: two adapters of the same neuron, or NaN where ``safe_merge``.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self._own_names()]
        self.check_merge(names, safe_merge=safe_merge)
        for name in names:
            kept = self._before_merge[name] = []
            for weight, dim, indices, delta in self.slices(name):
                before = weight.data.index_select(dim, indices)
                kept.append(before)
                weight.data.index_copy_(dim, indices, (before.to(delta) + delta).to(weight.dtype))
            self.merged_adapters.append(name)

    @torch.no_grad()
    def check_merge(self, names: list[str], *, safe_merge: bool) -> None:
        """Refuse to merge, before anything is changed; errors as ``merge`` raises them."""
        self._check_disjoint([*self.merged_adapters, *names])
        for name in (name for name in names if name in self.brodmann_places):
            for weight, dim, indices, delta in self.slices(name):
                if is_packed(weight):
                    raise ModelError(quantised_merge(type(self.get_base_layer()).__name__))
                if not safe_merge:
                    continue
                merged = weight.data.index_select(dim, indices).to(delta) + delta
                if not merged.to(weight.dtype).isfinite().all():
                    raise InputError(
                        f"Expected finite weights after merging '{name}'; some are not. Train with "
                        "a smaller learning rate, or merge into float32."
                    )

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put back what was there before ``merge``, bit for bit."""
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            slices = self.slices(name)
            for (weight, dim, indices, _), kept in zip(
                slices, self._before_merge.pop(name), strict=True
            ):
                weight.data.index_copy_(dim, indices, kept.to(weight.device))

    def unmerged_adapters(self) -> list[str]:
        """The active adapters of this layer that the base weights do not hold."""
        own = self._own_names()
        return [n for n in self.active_adapters if n in own and n not in self.merged_adapters]

    def _own_names(self) -> list[str]:
        return list(self.brodmann_places)

    def slices(self, name: str) -> list[tuple[Tensor, int, Tensor, Tensor]]:
        """Base tensors that an adapter changes: (tensor, dimension, indices, difference)."""
        raise NotImplementedError

    def indices(self, name: str) -> Int[Tensor, "k"]:
        """An adapter's rows, columns or neurons, where its parameters are."""
        place, device = self.brodmann_places[name], self.brodmann_delta[name].device
        if place.indices.device != device:
            place = self.brodmann_places[name] = Place(place.axis, place.indices.to(device))
        return place.indices

    def _overlaps(self, one: str, other: str) -> bool:
        ours, theirs = self.brodmann_places[one].indices, self.brodmann_places[other].indices
        return bool(torch.isin(ours.cpu(), theirs.cpu()).any())

    def _check_disjoint(self, names: list[str]) -> None:
        own = [name for name in dict.fromkeys(names) if name in self.brodmann_places]
        for one, other in itertools.combinations(own, 2):
            if self._overlaps(one, other):
                raise InputError(overlapping(one, other))

    def _new_parameter(self, *shape: int) -> nn.Parameter:
        """Zeros where the base layer computes, float32 (float64 in float64 models)."""
        base: Any = self.get_base_layer()
        weight = next(base.parameters())
        device = weight.device
        if weight.is_meta and (hook := getattr(base, "_hf_hook", None)) is not None:
            device = hook.execution_device  # device_map keeps the weight elsewhere
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        return nn.Parameter(torch.zeros(*shape, device=device, dtype=dtype))


class NeuronTuningLinear(nn.Module, NeuronTuningLayer):
    """A linear layer, a Conv1D or a bitsandbytes linear layer with rows or columns added to.

    W x + b becomes (W + sum over adapters of delta at its rows or columns) x + b + delta b.
    """

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, place: Place, *, train_bias: bool
    ) -> None:
        """Wrap ``base_layer`` (a layer, or another adapter's) and give it a first adapter."""
        super().__init__()
        NeuronTuningLayer.__init__(self, base_layer)
        base: Any = self.get_base_layer()
        self.transposed = isinstance(base, Conv1D)
        if self.transposed:
            self.in_features, self.out_features = base.weight.shape
        else:  # packed weights have another shape than their layer
            self.in_features, self.out_features = base.in_features, base.out_features
        self._active_adapter = [adapter_name]
        self.add(adapter_name, place, train_bias=train_bias)

    def add(self, adapter_name: str, place: Place, *, train_bias: bool) -> None:
        """Add an adapter that changes nothing yet."""
        width = self.in_features if place.axis == "row" else self.out_features
        count = len(place.indices)
        self.brodmann_delta[adapter_name] = self._new_parameter(count, width)
        base: Any = self.get_base_layer()
        if train_bias and place.axis == "row" and getattr(base, "bias", None) is not None:
            self.brodmann_bias[adapter_name] = self._new_parameter(count)
        self.brodmann_places[adapter_name] = place
        self.set_adapter(self.active_adapters)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The base layer's output, and what unmerged active adapters add to it."""
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self.base_layer(x, *args, **kwargs)
        y = self.base_layer(x, *args, **kwargs)
        for name in self.unmerged_adapters():
            # In the activations' type: what is added is rounded as the sum itself is.
            delta, indices = self.brodmann_delta[name].to(x.dtype), self.indices(name)
            if self.brodmann_places[name].axis == "column":
                y = y + (x.index_select(-1, indices) @ delta).to(y.dtype)
                continue
            bias = self.brodmann_bias[name].to(x.dtype) if name in self.brodmann_bias else None
            y = y.index_add(-1, indices, nn.functional.linear(x, delta, bias).to(y.dtype))
        return y

    def get_delta_weight(self, adapter: str) -> Float[Tensor, "..."]:
        """What an adapter adds to the base weight, in the base weight's layout."""
        base: Any = self.get_base_layer()
        delta, indices = self.brodmann_delta[adapter].detach(), self.indices(adapter)
        dense = delta.new_zeros(self.out_features, self.in_features)
        dense.index_copy_(*self._along(adapter, indices, delta))
        dtype = base.weight.dtype if base.weight.is_floating_point() else delta.dtype
        return (dense.T if self.transposed else dense).to(dtype)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Whether LoRA can say the same: not what is learnt for biases."""
        return adapter_name not in self.brodmann_bias

    def _along(self, name: str, indices: Tensor, delta: Tensor) -> tuple[int, Tensor, Tensor]:
        """Arguments to index W [out, in] with: dimension, indices, and the difference there."""
        if self.brodmann_places[name].axis == "row":
            return 0, indices, delta
        return 1, indices, delta.T

    def slices(self, name: str) -> list[tuple[Tensor, int, Tensor, Tensor]]:
        """Base weight and bias, and what the adapter adds to them."""
        base: Any = self.get_base_layer()
        dim, indices, delta = self._along(
            name, self.indices(name).to(base.weight.device), self.brodmann_delta[name].detach()
        )
        delta = delta.to(base.weight.device)
        if self.transposed:
            dim, delta = 1 - dim, delta.T
        slices = [(base.weight, dim, indices, delta)]
        if name in self.brodmann_bias:
            slices.append((base.bias, 0, indices, self.brodmann_bias[name].detach().to(delta)))
        return slices


def overlapping(one: str, other: str) -> str:
    """What to say of two adapters that train the same neuron."""
    return (
        f"Expected adapters of different neurons to be used together; '{one}' and '{other}' train "
        "some of the same. Use one at a time, or train one adapter on the union of their sets."
    )


def quantised_merge(layer: str) -> str:
    """What to say when packed weights are asked to take an adapter in."""
    return (
        f"Expected weights in floating point to merge into; the model keeps {layer} packed. Load "
        "the base model without quantisation and merge there, or export the LoRA form."
    )
