"""Integrated gradients over MLP neurons (CNL Eq. 7, KN Eq. 2) the slow way, by whole sequences.

Independent of the package's sites, norms, padding and caches: one unpadded
sample at a time, S copies of the whole sequence per layer and answer token, in each of which the
neurons' vector at the last token is a scaled copy of its clean value. Nothing is shared between
layers, tokens or samples, and nothing is remembered from one run to the next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

TARGETS = ("mean", "first", "sum_logprob")
SITES = ("down_in", "gate_pre", "up_pre", "act")


def attribution_reference(
    model,
    answers: Sequence[tuple[list[int], int]],
    *,
    rule: str = "gauss-legendre",
    steps: int = 20,
    target: str = "mean",
    site: str = "down_in",
    layers: Iterable[int] | None = None,
) -> Tensor:
    """Mean over samples of clean value * integral of d objective / d neuron, [L, N] in float64.

    ``answers``: (ids of prompt and answer together, how many of them are the prompt's).
    ``target``: "mean" of P over the answer's tokens, P of the "first", or "sum_logprob".
    Rows of layers that were not asked for are 0, as are places of neurons that do not exist.
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {TARGETS}, not {target!r}")
    asked = range(model.n_layers) if layers is None else layers
    total = torch.zeros(model.n_layers, model.n_neurons, dtype=torch.float64)
    with _frozen(model.hf):
        for ids, n_prompt in answers:
            n_tokens = 1 if target == "first" else len(ids) - n_prompt
            share = 1 if target == "sum_logprob" else n_tokens
            for m in range(n_tokens):
                prefix, token = ids[: n_prompt + m], ids[n_prompt + m]
                for layer in asked:
                    place = _place(model.hf, prefix, layer, site)
                    alphas, weights = _points(rule, steps, place.sharpness, place.turns)
                    gradients = _gradients(
                        model.hf, prefix, token, place, alphas, log=target == "sum_logprob"
                    )
                    score = place.clean.double().cpu() * (weights[:, None] * gradients).sum(0)
                    total[layer, : len(score)] += score / share
    return total / len(answers)


@torch.no_grad()
def zeroed_difference(
    model, ids: list[int], n_prompt: int, m: int, layer: int, site: str = "down_in"
) -> float:
    """P(answer token m) as the model is, minus P with the layer's vector 0 at the last token."""
    prefix, token = ids[: n_prompt + m], ids[n_prompt + m]
    place = _place(model.hf, prefix, layer, site)
    full = _log_probability(model.hf, prefix, token, 1).exp()
    with place.put(torch.zeros_like(place.clean)[None]):
        zeroed = _log_probability(model.hf, prefix, token, 1).exp()
    return float(full - zeroed)


@dataclass(frozen=True)
class _Place:
    """The neurons of one layer at the last token of one prefix.

    ``clean``: their vector in the unedited model, [n].
    ``put``: hooks the model so that the vector of copy s is row s of [S, n].
    ``sharpness``: rms(MLP output) / sqrt(epsilon) where a norm stands before the residual add.
    ``turns``: whether scaling changes the direction of the MLP output besides its length.
    """

    clean: Tensor
    put: Callable[[Tensor], RemovableHandle]
    sharpness: float | None = None
    turns: bool = False


def _gradients(hf, prefix: list[int], token: int, place: _Place, alphas, *, log: bool) -> Tensor:
    """d P (or log P) / d vector in every copy, [S, n] in float64."""
    clean = place.clean
    vectors = (
        (alphas.to(clean.device)[:, None] * clean.double()).to(clean.dtype).requires_grad_(True)
    )
    with place.put(vectors), torch.enable_grad():
        objective = _log_probability(hf, prefix, token, len(alphas))
        objective = objective if log else objective.exp()
        (gradients,) = torch.autograd.grad(objective.sum(), vectors)
    return gradients.double().cpu()


def _log_probability(hf, prefix: list[int], token: int, copies: int) -> Tensor:
    """Log P(token | prefix) in each of some copies of the prefix, [S]."""
    ids = torch.tensor([prefix], device=hf.device).repeat(copies, 1)
    logits = hf(input_ids=ids, use_cache=False).logits[:, -1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits.log_softmax(-1)[:, token]


def _points(
    rule: str, steps: int, sharpness: float | None, turns: bool = False
) -> tuple[Tensor, Tensor]:
    """Where on [0, 1] the gradient is taken, and each point's weight, [S] each."""
    index = torch.arange(steps, dtype=torch.float64)
    even = torch.full_like(index, 1 / steps)
    if rule == "left":
        return index / steps, even
    if rule == "right":
        return (index + 1) / steps, even
    if rule == "midpoint":
        return (index + 0.5) / steps, even
    if rule == "mean":
        return torch.linspace(0, 1, steps, dtype=torch.float64), even
    if rule == "paper":
        return index / (steps - 1), torch.full_like(index, 1 / (steps - 1))
    if rule != "gauss-legendre":
        raise ValueError(f"unknown rule {rule!r}")
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(steps))
    nodes, weights = (nodes + 1) / 2, weights / 2
    if not sharpness:
        return nodes, weights
    if turns:  # the norm bends P near 1 / sharpness, the turn at every magnitude above
        span = float(np.arcsinh(sharpness))
        return (span * nodes).sinh() / sharpness, weights * span * (span * nodes).cosh() / sharpness
    # The norm makes u * sin(angle) of alpha * u, with tan(angle) = alpha * sharpness. Nodes are in
    # the sine: d alpha / d sine = 1 / (sharpness * cos(angle)^3).
    end = float(np.sin(np.arctan(sharpness)))
    angle = (end * nodes).asin()
    return angle.tan() / sharpness, end * weights / (sharpness * angle.cos() ** 3)


def _place(hf, prefix: list[int], layer: int, site: str) -> _Place:
    if site not in SITES:
        raise ValueError(f"site must be one of {SITES}, not {site!r}")
    decoder = hf.get_decoder()
    blocks = next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))
    block = blocks[layer]
    mlp = _first(block, "mlp", "ffn") or block  # OPT has no module around its MLP
    if not hasattr(mlp, "experts"):
        post = _first(block, "post_feedforward_layernorm", "post_mlp_layernorm")
        return _dense_place(hf, prefix, mlp, post, site)
    if site != "down_in":
        raise ValueError(f"experts have the site 'down_in' only, not {site!r}")
    return _expert_place(hf, prefix, mlp.experts)


def _dense_place(
    hf, prefix: list[int], mlp: nn.Module, post: nn.Module | None, site: str
) -> _Place:
    down = _first(mlp, "down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h")
    fused, gate_proj = _first(mlp, "gate_up_proj"), _first(mlp, "gate_proj")
    inward = _first(mlp, "gate_up_proj", "up_proj", "c_fc", "fc1", "fc_in", "dense_h_to_4h")
    act = _first(mlp, "act_fn", "act", "activation_fn", "gelu_impl")
    seen = _observed(hf, prefix, [m for m in (down, inward, gate_proj) if m is not None])
    up, gate = seen[inward].output, None
    if fused is not None:
        gate, up = up.chunk(2)
    elif gate_proj is not None:
        gate = seen[gate_proj].output
    elif site == "gate_pre":
        raise ValueError(f"{hf.config.model_type} has no gate")
    active = act(up if gate is None else gate)
    clean = {"down_in": seen[down].inputs[0], "gate_pre": gate, "up_pre": up, "act": active}[site]

    def down_in(vectors: Tensor) -> Tensor:
        if site == "down_in":
            return vectors
        if site == "gate_pre":
            return act(vectors) * up
        if site == "up_pre":
            return act(vectors) if gate is None else active * vectors
        return vectors if gate is None else vectors * up

    def put(vectors: Tensor) -> RemovableHandle:
        def replace(_, args):
            return (_with_last(args[0], down_in(vectors)),)

        return down.register_forward_pre_hook(replace)

    turns = site == "gate_pre" or (site == "up_pre" and gate is None)
    return _Place(clean, put, None if post is None else _sharpness(post, seen[down].output), turns)


def _sharpness(post: nn.Module, written: Tensor) -> float:
    epsilon = getattr(post, "variance_epsilon", None) or post.eps
    return float(written.double().square().mean().sqrt() / epsilon**0.5)


def _expert_place(hf, prefix: list[int], experts: nn.Module) -> _Place:
    """Neurons of all experts, concatenated; those of experts that do not see the token are 0."""
    hidden, chosen, routing = _observed(hf, prefix, [experts])[experts].inputs
    width = experts.down_proj.shape[2]
    clean = torch.zeros(experts.num_experts, width, dtype=hidden.dtype, device=hidden.device)
    for expert in chosen.tolist():
        gate, up = (experts.gate_up_proj[expert].detach() @ hidden).chunk(2)
        clean[expert] = experts.act_fn(gate) * up

    def put(vectors: Tensor) -> RemovableHandle:
        def replace(_, args, output):
            of_expert = vectors.unflatten(1, clean.shape)
            written = sum(
                weight * (of_expert[:, expert] @ experts.down_proj[expert].T)
                for expert, weight in zip(chosen.tolist(), routing, strict=True)
            )
            return _with_last(output, written)

        return experts.register_forward_hook(replace)

    return _Place(clean.flatten(), put)


def _with_last(values: Tensor, last: Tensor) -> Tensor:
    """``values`` ([S, T, n], or S * T rows) with row s of ``last`` at the last token of copy s."""
    changed = values.clone().reshape(last.shape[0], -1, last.shape[1])
    changed[:, -1] = last
    return changed.reshape(values.shape)


@dataclass(frozen=True)
class _Seen:
    """What one module got and gave at the last token."""

    inputs: tuple[Tensor, ...]
    output: Tensor


@torch.no_grad()
def _observed(hf, prefix: list[int], modules: Sequence[nn.Module]) -> dict[nn.Module, _Seen]:
    seen: dict[nn.Module, _Seen] = {}

    def last(values: Tensor) -> Tensor:
        return values.reshape(-1, values.shape[-1])[-1].clone()

    def keep(module, args, output):
        seen[module] = _Seen(tuple(last(a) for a in args), last(output))

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(keep))
        hf(input_ids=torch.tensor([prefix], device=hf.device), use_cache=False)
    return seen


def _first(module: nn.Module, *names: str) -> nn.Module | None:
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)


@contextmanager
def _frozen(hf: nn.Module) -> Iterator[None]:
    trained = [p for p in hf.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
