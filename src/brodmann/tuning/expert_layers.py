"""Neurons of mixture-of-experts layers, whose weights are stacked in one module."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.tuning.layers import NeuronTuningLayer, Place


class NeuronTuningExperts(nn.Module, NeuronTuningLayer):
    """Experts of which some neurons are tuned.

    The base module computes as it is, by whichever program transformers chose; what the tuned
    neurons write now minus what they wrote before is added for the tokens of their expert. That is
    exact, and costs as much as the tuned neurons alone.
    """

    adapter_layer_names = (*NeuronTuningLayer.adapter_layer_names, "brodmann_inward")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, place: Place, *, train_bias: bool
    ) -> None:
        """Wrap the experts and give them a first adapter; neuron = expert * width + index."""
        super().__init__()
        NeuronTuningLayer.__init__(self, base_layer)
        self.brodmann_inward = nn.ParameterDict({})
        self._active_adapter = [adapter_name]
        self.add(adapter_name, place, train_bias=train_bias)

    @property
    def width(self) -> int:
        """Neurons of one expert."""
        base: Any = self.get_base_layer()
        return base.down_proj.shape[1 if base.is_transposed else 2]

    def add(self, adapter_name: str, place: Place, *, train_bias: bool) -> None:
        """Add an adapter that changes nothing yet."""
        base: Any = self.get_base_layer()
        hidden = base.down_proj.shape[2 if base.is_transposed else 1]
        rows = len(place.indices) * (2 if base.has_gate else 1)
        self.brodmann_delta[adapter_name] = self._new_parameter(len(place.indices), hidden)
        self.brodmann_inward[adapter_name] = self._new_parameter(rows, hidden)
        if train_bias and base.has_bias:
            self.brodmann_bias[adapter_name] = self._new_parameter(rows)
        self.brodmann_places[adapter_name] = place
        self.set_adapter(self.active_adapters)

    def forward(
        self,
        hidden_states: Float[Tensor, "T D"],
        top_k_index: Int[Tensor, "T K"],
        top_k_weights: Float[Tensor, "T K"],
    ) -> Float[Tensor, "T D"]:
        """The experts' output, and what unmerged active adapters change of it."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        out = self.base_layer(hidden_states, top_k_index, top_k_weights)
        if self.disable_adapters:
            return out
        for name in self.unmerged_adapters():
            for expert, neurons in self._by_expert(name):
                tokens, slots = (top_k_index == expert).nonzero().T
                change = self._change(name, expert, neurons, hidden_states[tokens])
                change = change * top_k_weights[tokens, slots, None]
                out = out.index_add(0, tokens, change.to(out.dtype))
        return out

    def _change(
        self, name: str, expert: int, neurons: Tensor, x: Float[Tensor, "S D"]
    ) -> Float[Tensor, "S D"]:
        """What an expert's tuned neurons write, minus what they wrote before."""
        base: Any = self.get_base_layer()
        delta = self.brodmann_delta[name]
        x = x.to(delta.dtype)
        inward, bias, down = self._base_parts(expert, self._local(name)[neurons])
        own = self._rows_of(name, neurons)
        before = nn.functional.linear(x, inward.to(x.dtype), None if bias is None else bias.to(x))
        bias_delta = self.brodmann_bias[name][own] if name in self.brodmann_bias else None
        after = before + nn.functional.linear(x, self.brodmann_inward[name][own], bias_delta)
        nonlinear = base._apply_gate if base.has_gate else base.act_fn
        down = down.to(x.dtype)
        # Before first: the two differ by little, and nothing larger may round it away.
        return nonlinear(after) @ (down + delta[neurons]) - nonlinear(before) @ down

    def _base_parts(self, expert: int, local: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """One expert's rows into the neurons [r, D], their biases, down's columns as [k, D]."""
        base: Any = self.get_base_layer()
        rows = self._inward_rows(local)
        stacked = base.gate_up_proj if base.has_gate else base.up_proj
        inward = stacked[expert].T[rows] if base.is_transposed else stacked[expert][rows]
        down = base.down_proj[expert]
        down = down[local] if base.is_transposed else down.T[local]
        biases = self._inward_biases()
        bias = None if biases is None else biases[expert][rows]
        return inward, bias, down

    def _inward_biases(self) -> Float[Tensor, "E r"] | None:
        base: Any = self.get_base_layer()
        if not base.has_bias:
            return None
        return base.gate_up_proj_bias if base.has_gate else base.up_proj_bias

    def _inward_rows(self, local: Tensor) -> Tensor:
        """Rows of an expert's gate and up, in the order in which its non-linearity takes them."""
        base: Any = self.get_base_layer()
        if not base.has_gate:
            return local
        if base.is_concatenated:
            return torch.cat([local, self.width + local])
        return torch.stack([2 * local, 2 * local + 1], dim=1).flatten()

    def _local(self, name: str) -> Tensor:
        """The adapter's neurons, counted within their expert."""
        return self._indices(name) % self.width

    def _indices(self, name: str) -> Tensor:
        place, device = self.brodmann_places[name], self.brodmann_delta[name].device
        if place.indices.device != device:
            place = self.brodmann_places[name] = Place(place.axis, place.indices.to(device))
        return place.indices

    def _by_expert(self, name: str) -> list[tuple[int, Tensor]]:
        """Expert -> which of the adapter's neurons (0 to k - 1) are in it."""
        experts = self._indices(name) // self.width
        return [(int(e), (experts == e).nonzero()[:, 0]) for e in experts.unique()]

    def _rows_of(self, name: str, neurons: Tensor) -> Tensor:
        """Where an expert's rows are among the adapter's: each neuron's gate and up together."""
        base: Any = self.get_base_layer()
        if not base.has_gate:
            return neurons
        if base.is_concatenated:
            return torch.cat([2 * neurons, 2 * neurons + 1])
        return torch.stack([2 * neurons, 2 * neurons + 1], dim=1).flatten()

    def slices(self, name: str) -> list[tuple[Tensor, int, Tensor, Tensor]]:
        """Flat views of the stacked weights, so that rows of several experts are one index."""
        base: Any = self.get_base_layer()
        slices: list[tuple[Tensor, int, Tensor, Tensor]] = []
        indices = self._indices(name)
        stacked = base.gate_up_proj if base.has_gate else base.up_proj
        biases = self._inward_biases()
        for expert, neurons in self._by_expert(name):
            local, own = indices[neurons] % self.width, self._rows_of(name, neurons)
            rows, inward = self._inward_rows(local), self.brodmann_inward[name].detach()[own]
            down = self.brodmann_delta[name].detach()[neurons]
            across = base.is_transposed
            slices.append((stacked[expert], int(across), rows, inward.T if across else inward))
            slices.append(
                (base.down_proj[expert], int(not across), local, down if across else down.T)
            )
            if name in self.brodmann_bias and biases is not None:
                bias = self.brodmann_bias[name].detach()[own]
                slices.append((biases[expert], 0, rows, bias))
        return slices

    def _overlaps(self, one: str, other: str) -> bool:
        ours, theirs = self.brodmann_places[one].indices, self.brodmann_places[other].indices
        return bool(torch.isin(ours.cpu(), theirs.cpu()).any())
