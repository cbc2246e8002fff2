"""LAPE the slow way: one unpadded text at a time, one neuron at a time.

Independent of the package's sites and counting: the non-linearity is recomputed from what goes
into the MLP, by the weights.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@torch.no_grad()
def firing_reference(model, texts: Sequence[tuple[list[int], list[bool]]]) -> Tensor:
    """Share of the counted tokens at which each neuron's activation is above 0, [L, N]."""
    above = torch.zeros(model.n_layers, model.n_neurons, dtype=torch.float64)
    reached = torch.zeros_like(above)
    for ids, counted in texts:
        for layer, (values, routed) in enumerate(_activations(model, ids)):
            for token in (t for t, counts in enumerate(counted) if counts):
                n = values.shape[1]
                above[layer, :n] += ((values[token] > 0) & routed[token]).double()
                reached[layer, :n] += routed[token].double()
    return above / reached.clamp_min(1)


def lape_reference(
    probabilities: Sequence[Sequence[float]], percentile: float, share: float
) -> tuple[list[float], list[set[int]]]:
    """Entropy of each neuron, and each group's neurons, by plain loops over [G][neurons]."""
    n_groups, n = len(probabilities), len(probabilities[0])
    entropies = []
    for j in range(n):
        total = sum(group[j] for group in probabilities)
        entropy = math.log(n_groups)
        if total > 0:
            parts = [group[j] / total for group in probabilities]
            entropy = -sum(part * math.log(part) for part in parts if part > 0)
        entropies.append(entropy)
    ordered = sorted(value for group in probabilities for value in group)
    bar = ordered[max(1, round(len(ordered) * percentile)) - 1]
    left = [j for j in range(n) if max(group[j] for group in probabilities) > bar]
    kept = sorted(left, key=lambda j: (entropies[j], j))[: round(n * share)]
    return entropies, [{j for j in kept if group[j] > bar} for group in probabilities]


def _activations(model, ids: list[int]) -> list[tuple[Tensor, Tensor]]:
    """For each layer: activations [T, n], and which neurons a token was routed to [T, n]."""
    seen: dict[int, tuple] = {}
    hooks, mlps = [], []
    decoder = model.hf.get_decoder()
    layers = next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))
    for i, layer in enumerate(layers):
        mlp = getattr(layer, "mlp", None) or getattr(layer, "ffn", None) or layer
        first = mlp.experts if hasattr(mlp, "experts") else _first(mlp)
        mlps.append(mlp)
        hooks.append(first.register_forward_pre_hook(lambda _, args, i=i: seen.update({i: args})))
    model.hf(input_ids=torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return [_layer(mlp, seen[i], len(ids)) for i, mlp in enumerate(mlps)]


def _first(mlp: nn.Module) -> nn.Module:
    names = (
        "gate_proj", "gate_up_proj", "up_proj", "c_fc", "fc1", "fc_in", "dense_h_to_4h",
    )  # fmt: skip
    return next(getattr(mlp, name) for name in names if hasattr(mlp, name))


def _layer(mlp: nn.Module, args: tuple, n_tokens: int) -> tuple[Tensor, Tensor]:
    if hasattr(mlp, "experts"):
        return _experts(mlp.experts, *args)
    first = _first(mlp)
    x = args[0].reshape(n_tokens, -1)
    into = x @ (first.weight if isinstance(first, Conv1D) else first.weight.T)
    if getattr(first, "bias", None) is not None:
        into = into + first.bias
    if hasattr(mlp, "gate_up_proj"):
        into = into.chunk(2, dim=-1)[0]
    names = ("act_fn", "activation_fn", "act", "activation", "gelu_impl")
    act = next(getattr(mlp, name) for name in names if hasattr(mlp, name))
    values = act(into)
    return values, torch.ones_like(values, dtype=torch.bool)


def _experts(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> tuple:
    values, routed = [], []
    for expert in range(experts.num_experts):
        gate, _ = (hidden @ experts.gate_up_proj[expert].T).chunk(2, dim=-1)
        values.append(torch.nn.functional.silu(gate))
        routed.append((index == expert).any(1, keepdim=True).expand_as(gate))
    return torch.cat(values, 1), torch.cat(routed, 1)
