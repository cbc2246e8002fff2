"""The tail engine: exact integrated gradients of all layers from one pass and a staircase.

In a causal model, scaling layer l's neurons at one token changes nothing in front of that token
and nothing below l. So the sequence is read once, and each (layer, token, alpha) becomes one
single-token row, a tail, that starts behind layer l's MLP and attends to the cached keys
(methods: docs/methods.md, "Integrated gradients").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.models.activations import written_replaced
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


Path = Callable[[LanguageModel, Prefix, Int[Tensor, "t"], Sequence[Entry]], Float[Tensor, "t LS D"]]
"""Carries the tails of all layers to the final norm's output, layer by layer, S rows each."""


def entries(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    alphas: Sequence[Float[Tensor, "t S"]],
) -> list[Entry]:
    """The scaled MLP outputs that the tails of each layer start from.

    The down bias and, in mixtures of experts, the routing stay as they are: u(alpha) = alpha *
    (u - b) + b. For a site in front of the non-linearity, every scaling goes through it.

    Args:
        model: the model.
        prefix: the sequences, read before.
        tasks: indices of chosen tokens of the prefix.
        alphas: the scalings, one tensor per layer.
    """
    return [_entry(model, prefix, layer, tasks, scaling) for layer, scaling in enumerate(alphas)]


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
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"], starts: Sequence[Entry]
) -> Float[Tensor, "t LS D"]:
    """Walk the layers once: the tails of lower layers pass through, those of this layer join."""
    hidden: Tensor | None = None
    with tail_layers(model, prefix, tasks) as run:
        for layer, start in enumerate(starts):
            joining = _behind_mlp(model, prefix, layer, tasks, start.written)
            if hidden is not None:
                above = run(layer, hidden)
                joining = torch.cat([above, joining.to(above.device)], dim=1)
            hidden = joining
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
    model: LanguageModel, prefix: Prefix, tasks: Int[Tensor, "t"], starts: Sequence[Entry]
) -> Float[Tensor, "t LS D"]:
    """The last token again through the whole decoder, its cache expanded to all rows.

    Exact for any family with a cache, whatever its attention; several times slower.
    """
    scalings = starts[0].written.shape[1]
    found = []
    for index, task in enumerate(tasks.tolist()):
        written = {
            layer: (slice(layer * scalings, (layer + 1) * scalings), start.written[index])
            for layer, start in enumerate(starts)
        }
        with written_replaced(model, written):
            found.append(last_token_again(model, prefix, task, len(starts) * scalings))
    return torch.stack(found)


def tail_gradients(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    alphas: Sequence[Float[Tensor, "t S"]],
    weights: Sequence[Float[Tensor, "t S"]],
    *,
    path: Path,
    logarithm: bool = False,
) -> list[Float[Tensor, "t _"]]:
    """Weighted sums over alpha of the gradients of P(target), for every layer at once.

    Args:
        model: the model; its parameters take no gradients.
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
    with torch.enable_grad():
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
    gradients = torch.autograd.grad(normed, [start.leaf for start in starts], unit)
    factor = (length[:, 0] if logarithm else length[:, 0] * log_p.exp()).view(len(tasks), -1)
    sums = []
    for layer, gradient in enumerate(gradients):
        scalings = gradient.shape[1]
        share = factor[:, layer * scalings : (layer + 1) * scalings].to(gradient.device)
        share = share * weights[layer].to(share)
        sums.append(torch.einsum("ts,tsd->td", share, gradient.to(share.dtype)))
    return sums


@torch.no_grad()
def tail_log_probabilities(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    alphas: Sequence[float],
    *,
    path: Path,
) -> Float[Tensor, "t L S"]:
    """Log P(target) with each layer's site vector scaled by each alpha, without gradients."""
    scaling = torch.tensor(alphas, dtype=torch.float64).expand(len(tasks), -1)
    starts = entries(model, prefix, tasks, [scaling] * model.n_layers)
    normed = path(model, prefix, tasks, starts)
    rows = normed.shape[1]
    log_p, _ = token_log_probability(model, normed.flatten(0, 1), targets.repeat_interleave(rows))
    return log_p.view(len(tasks), model.n_layers, -1)
