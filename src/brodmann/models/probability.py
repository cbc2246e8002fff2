"""Log-probability of a token and its gradient, without ever forming logits [n, V]."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import logit_factor, soft_cap
from brodmann.models.weights import dense_weight

TILE = 2048
"""Rows of the unembedding at a time: logits [n, TILE] should stay in a CPU's cache."""


@torch.no_grad()
def token_log_probability(
    model: LanguageModel, normed: Float[Tensor, "n D"], tokens: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n D"]]:
    """Log-probability of one token per row, and its gradient in the final norm's output.

    d log P(y) / dx = factor * (c_y W_y - sum over v of P(v) c_v W_v), c the derivative of a
    soft-cap (1 without). The vocabulary is walked in tiles with a running maximum, forward and
    backward at once, so that each tile of the unembedding is read once.

    Args:
        model: the model.
        normed: outputs of the final norm.
        tokens: y of each row.

    Returns:
        log P [n] and its gradient [n, D], in ``model.score_dtype``.
    """
    dtype = model.score_dtype
    with dense_weight(model.head) as weight:
        x, y = normed.to(weight.device, weight.dtype), tokens.to(weight.device)
        own, own_slope = _logits(model, (x.to(dtype) * weight[y].to(dtype)).sum(1), y)
        top = own[:, None].clone()  # a running maximum may start from any of its members
        total, mean = torch.zeros_like(top), torch.zeros_like(x, dtype=dtype)
        for start in range(0, len(weight), TILE):
            rows = weight[start : start + TILE]
            logits, slope = _logits(model, x @ rows.T, slice(start, start + TILE))
            raised = torch.maximum(top, logits.amax(1, keepdim=True))
            shrink = (top - raised).exp_()
            mass = logits.sub_(raised).exp_()
            total.mul_(shrink).add_(mass.sum(1, keepdim=True))
            felt = mass if slope is None else mass.mul_(slope)
            mean.mul_(shrink).add_((felt.to(rows.dtype) @ rows).to(dtype))
            top = raised
        target = weight[y].to(dtype)
        if own_slope is not None:
            target *= own_slope[:, None]
        gradient = target - mean.div_(total)
    return own - (top + total.log())[:, 0], gradient.mul_(logit_factor(model))


@torch.no_grad()
def log_probability(
    model: LanguageModel, normed: Float[Tensor, "n D"], tokens: Int[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """Log-probability of one token per row; half the work of :func:`token_log_probability`.

    Args:
        model: the model.
        normed: outputs of the final norm.
        tokens: y of each row.
    """
    dtype = model.score_dtype
    with dense_weight(model.head) as weight:
        x, y = normed.to(weight.device, weight.dtype), tokens.to(weight.device)
        own, _ = _logits(model, (x.to(dtype) * weight[y].to(dtype)).sum(1), y)
        tiles = [slice(start, start + TILE) for start in range(0, len(weight), TILE)]
        totals = [_logits(model, x @ weight[tile].T, tile)[0].logsumexp(1) for tile in tiles]
    return own - torch.stack(totals, dim=1).logsumexp(1)


def _logits(
    model: LanguageModel, products: Tensor, tokens: Tensor | slice
) -> tuple[Tensor, Tensor | None]:
    """Logits [..., tokens] from products with rows of W_un, and the soft-cap's derivative there."""
    logits = products.to(model.score_dtype)
    bias = getattr(model.head, "bias", None)
    if bias is not None:
        logits = logits + bias[tokens].to(logits)
    factor, cap = logit_factor(model), soft_cap(model)
    if factor != 1:
        logits = logits * factor
    if cap is None:
        return logits, None
    share = torch.tanh(logits / cap)
    return share * cap, 1 - share.square()
