"""The tail engine: exact integrated gradients of all layers from one pass and a staircase.

In a causal model, scaling layer l's neurons at one token changes nothing in front of that token
and nothing below l. So the sequence is read once, and each (layer, token, alpha) becomes one
single-token row, a tail, that starts behind layer l's MLP and attends to the cached keys
(methods: docs/methods.md, "Integrated gradients").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.models.activations import written_replaced
from brodmann.models.frozen import frozen
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module
from brodmann.models.prefix import Prefix, last_token_again
from brodmann.models.probability import token_log_probability
from brodmann.models.sites import DenseSite
from brodmann.models.tail_layers import tail_layers


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the tails of one layer start: t tasks, S scalings of the site's vector each.

    Attributes:
        leaf: what gradients are taken of: the MLP's output [t, S, D] where the site is linear in
            it (then dP/dz = W_down' dP/du), else the scaled site vector itself [t, S, n].
        written: the MLP's output, before post-norm and multiplier [t, S, D].
    """

    leaf: Float[Tensor, "t S _"]
    written: Float[Tensor, "t S D"]


Starts = Mapping[int, Entry]
"""Layer -> where its tails start, from the bottom up."""

Path = Callable[[LanguageModel, Prefix, Int[Tensor, "t"], Starts], Float[Tensor, "t R D"]]
"""Carries tails to the final norm's output; R rows, the lowest layer's first."""

Scalings = Mapping[int, Float[Tensor, "t S"]]
"""Layer -> a number for each task and each of its scalings."""


def entries(
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"], alphas: Scalings
) -> dict[int, Entry]:
    """The scaled MLP outputs that the tails of each layer start from.

    The down bias and, in mixtures of experts, the routing stay as they are: u(alpha) = alpha *
    (u - b) + b. For a site in front of the non-linearity, every scaling goes through it.

    Args:
        model: the model.
        prefix: the sequences, read before.
        tasks: indices of chosen tokens of the prefix.
        alphas: the scalings of each layer that tails start from.
    """
    return {
        layer: _entry(model, prefix, layer, tasks, scaling)
        for layer, scaling in sorted(alphas.items())
    }


def _entry(
    model: LanguageModel, prefix: Prefix, layer: int, tasks: Tensor, alphas: Tensor
) -> Entry:
    found, site = prefix.layers[layer], model.sites[layer]
    assert found.z is not None and found.written is not None
    z, written = found.z[tasks.to(found.z.device)], found.written[tasks.to(found.written.device)]
    scale = alphas[..., None].to(written.device)
    if prefix.site == "pre":
        assert isinstance(site, DenseSite) and site.activation is not None
        leaf = (scale.to(z.device) * z[:, None].to(scale.dtype)).to(z.dtype).requires_grad_()
        inner = site.activation(leaf)
        if found.factor is not None:
            inner = inner * found.factor[tasks.to(z.device)][:, None]
        return Entry(leaf, site.down(inner))
    routing = None if found.routing is None else found.routing[tasks.to(found.routing.device)]
    offset = site.write(torch.zeros_like(z), routing)[:, None].to(scale)
    leaf = scale * (written[:, None].to(scale) - offset) + offset
    leaf = leaf.to(written.dtype).requires_grad_()
    return Entry(leaf, leaf)


def staircase(
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"], starts: Starts
) -> Float[Tensor, "t R D"]:
    """Walk the layers once: the tails of lower layers pass through, those of this layer join."""
    hidden: Tensor | None = None
    with tail_layers(model, prefix, tasks) as run:
        for layer in range(min(starts), model.n_layers):
            if hidden is not None:
                hidden = run(layer, hidden)
            if layer in starts:
                joining = _behind_mlp(model, prefix, layer, tasks, starts[layer].written)
                parts = [] if hidden is None else [hidden]
                hidden = torch.cat([*parts, joining], dim=1)
    return final_norm_module(model)(hidden)


def _behind_mlp(
    model: LanguageModel, prefix: Prefix, layer: int, tasks: Tensor, written: Tensor
) -> Tensor:
    """The residual stream behind a layer whose MLP writes something else at the chosen tokens."""
    site, output, before = model.sites[layer], prefix.calls[layer].output, prefix.layers[layer]
    assert output is not None and before.written is not None
    here = tasks.to(output.device)

    def added(vector: Tensor) -> Tensor:
        passed = vector if site.post_norm is None else site.post_norm(vector)
        return passed * site.multiplier if site.multiplier != 1 else passed

    residual = output[here] - added(before.written[here])
    return residual[:, None] + added(written)


def rerun(
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"], starts: Starts
) -> Float[Tensor, "t R D"]:
    """The last token again through the whole decoder, its cache expanded to all rows.

    Exact for any family with a cache, whatever its attention; several times slower.
    """
    spans, end = {}, 0
    for layer, start in starts.items():
        spans[layer] = slice(end, end := end + start.written.shape[1])
    found = []
    for index, task in enumerate(tasks.tolist()):
        written = {layer: (spans[layer], start.written[index]) for layer, start in starts.items()}
        with written_replaced(model, written):
            found.append(last_token_again(model, prefix, task, end))
    return torch.stack(found)


def tail_gradients(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    alphas: Scalings,
    weights: Scalings,
    *,
    path: Path,
    logarithm: bool = False,
) -> dict[int, Float[Tensor, "t _"]]:
    """Weighted sums over alpha of the gradients of P(target), for several layers at once.

    Args:
        model: the model; its parameters take no gradients meanwhile.
        prefix: the sequences, read before.
        tasks: indices of chosen tokens of the prefix.
        targets: the token whose probability counts, for each task.
        alphas: scalings of the site's vector, per layer.
        weights: what each scaling's gradient is multiplied by, per layer.
        path: how tails are carried to the end.
        logarithm: log P in place of P.

    Returns:
        Per layer the sum over S of weight * dP/dleaf, in ``model.score_dtype``.
    """
    with torch.enable_grad(), frozen(model.hf):
        starts = entries(model, prefix, tasks, alphas)
        normed = path(model, prefix, tasks, starts)
    rows = normed.shape[1]
    log_p, slope = token_log_probability(
        model, normed.detach().flatten(0, 1), targets.repeat_interleave(rows)
    )
    # Rows do not mix: each goes back at unit length, and its length comes in at the end. So tiny
    # probabilities are not rounded away in 16 bits.
    length = slope.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    unit = (slope / length).to(normed).view_as(normed)
    gradients = torch.autograd.grad(normed, [start.leaf for start in starts.values()], unit)
    factors = (length[:, 0] if logarithm else length[:, 0] * log_p.exp()).view(len(tasks), rows)
    shares = factors.split([gradient.shape[1] for gradient in gradients], dim=1)
    return {
        layer: _weighted_sum(gradient, share, weights[layer])
        for layer, gradient, share in zip(starts, gradients, shares, strict=True)
    }


def _weighted_sum(gradient: Tensor, share: Tensor, weights: Tensor) -> Tensor:
    factor = share.to(gradient.device) * weights.to(gradient.device, share.dtype)
    return torch.einsum("ts,tsd->td", factor, gradient.to(share.dtype))


@torch.no_grad()
def zeroed_log_probability(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    *,
    path: Path,
) -> Float[Tensor, "t L"]:
    """Log P(target) with one layer's site vector zeroed, for each task and layer."""
    nothing = torch.zeros(len(tasks), 1)
    starts = entries(model, prefix, tasks, dict.fromkeys(range(model.n_layers), nothing))
    normed = path(model, prefix, tasks, starts)
    log_p, _ = token_log_probability(
        model, normed.flatten(0, 1), targets.repeat_interleave(model.n_layers)
    )
    return log_p.view(len(tasks), model.n_layers)
