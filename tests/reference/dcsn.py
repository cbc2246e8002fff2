"""DCSN the slow way: one unpadded sample at a time, one neuron's vector at a time.

Independent of the package's sites, norms and padding: norms are read off their parameters, the
weights off the state dict, and experts are run by hand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

ONE_PLUS_WEIGHT = ("gemma", "gemma2", "gemma3_text", "nemotron")
HARD_CODED_EPSILON = {"OlmoLayerNorm": 1e-5}


def dcsn_reference(model, readings: Sequence[tuple[list[int], int]], *, fold_norm=True) -> Tensor:
    """Mean over (prompt ids, target id) pairs of each neuron's contribution, [L, N]."""
    total = torch.zeros(model.n_layers, model.n_neurons, dtype=torch.float64)
    for ids, target in readings:
        total += _one(model, ids, target, fold_norm)
    return total / len(readings)


@torch.no_grad()
def _one(model, ids: list[int], target: int, fold_norm: bool) -> Tensor:
    hf, kind = model.hf, model.hf.config.model_type
    config = hf.config
    seen: dict[str, object] = {}
    hooks = []

    def keep_input(name):
        def hook(_, args):
            seen[name] = args

        return hook

    def keep_output(name):
        def hook(_, args, output):
            seen[name] = output.clone()

        return hook

    decoder = hf.get_decoder()
    norm = next(
        getattr(decoder, n)
        for n in ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")
        if hasattr(decoder, n)
    )
    layers = next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))
    hooks.append(norm.register_forward_pre_hook(keep_input("final")))
    for i, layer in enumerate(layers):
        mlp = getattr(layer, "mlp", None) or getattr(layer, "ffn", None) or layer
        if hasattr(mlp, "experts"):
            hooks.append(mlp.experts.register_forward_pre_hook(keep_input(f"experts{i}")))
        else:
            down = _down(mlp)
            hooks.append(down.register_forward_pre_hook(keep_input(f"z{i}")))
            hooks.append(down.register_forward_hook(keep_output(f"out{i}")))
    hf(input_ids=torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()

    weight = hf.get_output_embeddings().weight[target].double()
    scale = getattr(config, "logit_scale", None) if kind in ("cohere", "cohere2") else None
    weight = weight * (scale or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    residual = seen["final"][0].reshape(-1, weight.shape[0])[-1].double()
    scores = torch.zeros(model.n_layers, model.n_neurons, dtype=torch.float64)
    for i, layer in enumerate(layers):
        mlp = getattr(layer, "mlp", None) or getattr(layer, "ffn", None) or layer
        written = _written_by_each(mlp, seen, i)
        multiplier = getattr(config, "residual_multiplier", None) or 1.0
        post = getattr(layer, "post_feedforward_layernorm", None) or getattr(
            layer, "post_mlp_layernorm", None
        )
        if post is not None and fold_norm:
            out = seen[f"out{i}"].reshape(-1, weight.shape[0])[-1].double()
            written = _through(post, kind, written, out)
        if fold_norm:
            written = _through(norm, kind, written * multiplier, residual)
        else:
            written = written * multiplier
        for j in range(written.shape[0]):
            scores[i, j] = float(written[j] @ weight)
    return scores


def _down(mlp: nn.Module) -> nn.Module:
    names = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h")
    return next(getattr(mlp, name) for name in names if hasattr(mlp, name))


def _written_by_each(mlp: nn.Module, seen: dict, i: int) -> Tensor:
    """[n, D]: z_j times column j, at the last token."""
    if hasattr(mlp, "experts"):
        hidden, index, weights = seen[f"experts{i}"]
        parts = []
        for expert in range(mlp.experts.num_experts):
            gate, up = (mlp.experts.gate_up_proj[expert] @ hidden[-1]).chunk(2)
            z = (torch.nn.functional.silu(gate) * up).double()
            routed = sum(
                float(weights[-1, k]) for k in range(index.shape[1]) if index[-1, k] == expert
            )
            columns = mlp.experts.down_proj[expert].double()
            parts.append(routed * (z[:, None] * columns.T))
        return torch.cat(parts)
    down = _down(mlp)
    z = seen[f"z{i}"][0].reshape(-1, seen[f"z{i}"][0].shape[-1])[-1].double()
    columns = down.weight if isinstance(down, Conv1D) else down.weight.T
    return z[:, None] * columns.double()


def _through(norm: nn.Module, kind: str, vectors: Tensor, at: Tensor) -> Tensor:
    """What each vector becomes behind a norm whose mean and spread are those at ``at``."""
    name = type(norm).__name__
    centred = "RMS" not in name and ("LayerNorm" in name)
    epsilon = getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None)
    epsilon = HARD_CODED_EPSILON[name] if epsilon is None else epsilon
    weight = getattr(norm, "weight", None)
    gain = torch.ones_like(at) if weight is None else weight.double()
    if kind in ONE_PLUS_WEIGHT:
        gain = 1 + gain
    if centred:
        at = at - at.mean()
        vectors = vectors - vectors.mean(-1, keepdim=True)
    return gain * vectors / (at.square().mean() + epsilon).sqrt()
