"""Neurons of mixture-of-experts layers, whose weights are stacked in one module."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.models.neuron_parameters import expert_inward, expert_rows
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
        x, local = x.to(delta.dtype), self.indices(name)[neurons] % self.width
        rows, own = self._rows(name, neurons)
        stacked, biases = expert_inward(base)
        inward = stacked[expert].T[rows] if base.is_transposed else stacked[expert][rows]
        bias = None if biases is None else biases[expert][rows].to(x.dtype)
        before = nn.functional.linear(x, inward.to(x.dtype), bias)
        bias_delta = self.brodmann_bias[name][own] if name in self.brodmann_bias else None
        after = before + nn.functional.linear(x, self.brodmann_inward[name][own], bias_delta)
        nonlinear = base._apply_gate if base.has_gate else base.act_fn
        down = base.down_proj[expert]
        down = (down[local] if base.is_transposed else down.T[local]).to(x.dtype)
        return nonlinear(after) @ (down + delta[neurons]) - nonlinear(before) @ down

    def _rows(self, name: str, neurons: Tensor) -> tuple[Tensor, Tensor]:
        """An expert's rows of gate and up as its non-linearity takes them, and the adapter's own.

        The adapter keeps the gate's rows of all its neurons in front of up's.
        """
        local = self.indices(name)[neurons] % self.width
        parts = expert_rows(self.get_base_layer(), local, self.width)
        rows = torch.cat(parts)
        own = torch.cat([neurons + part * len(self.indices(name)) for part in range(len(parts))])
        order = rows.argsort()  # in turns where the module keeps them so
        return rows[order], own[order]

    def _by_expert(self, name: str) -> list[tuple[int, Tensor]]:
        """Expert -> which of the adapter's neurons (0 to k - 1) are in it."""
        experts = self.indices(name) // self.width
        return [(int(e), (experts == e).nonzero()[:, 0]) for e in experts.unique()]

    def slices(self, name: str) -> list[tuple[Tensor, int, Tensor, Tensor]]:
        """Views of each expert's weights, and what the adapter adds to them."""
        base: Any = self.get_base_layer()
        across = bool(base.is_transposed)
        stacked, biases = expert_inward(base)
        slices: list[tuple[Tensor, int, Tensor, Tensor]] = []
        for expert, neurons in self._by_expert(name):
            local, (rows, own) = self.indices(name)[neurons] % self.width, self._rows(name, neurons)
            inward = self.brodmann_inward[name].detach()[own]
            down = self.brodmann_delta[name].detach()[neurons]
            slices.append((stacked[expert], int(across), rows, inward.T if across else inward))
            slices.append(
                (base.down_proj[expert], int(not across), local, down if across else down.T)
            )
            if name in self.brodmann_bias and biases is not None:
                bias = self.brodmann_bias[name].detach()[own]
                slices.append((biases[expert], 0, rows, bias))
        return slices
