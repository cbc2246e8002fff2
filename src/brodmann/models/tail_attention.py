"""Attention of single tokens that share a prefix: one product with its keys, plus a self term.

A tail is one token whose hidden state was changed; it sees the cached keys in front of it and
itself, never another tail. So nothing is expanded per tail and no square mask is built.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import FunctionCtx


def tail_attention(
    query: Float[Tensor, "t Hq R d"],
    key: Float[Tensor, "t Hkv R d"],
    value: Float[Tensor, "t Hkv R d"],
    prefix_keys: Float[Tensor, "t Hkv T d"],
    prefix_values: Float[Tensor, "t Hkv T d"],
    visible: Bool[Tensor, "t T"],
    scaling: float,
    soft_cap: float | None = None,
) -> Float[Tensor, "t Hq R d"]:
    """What each tail's query reads from the visible prefix keys of its task and from itself.

    Weights are a softmax in float32 (float64 for float64) over T + 1 scores. Query heads are
    grouped over fewer key heads as Hugging Face orders them. Differentiable once, in the tails'
    own query, key and value; the prefix is constant.

    Args:
        query: t tasks of R tails each.
        key: the tails' own keys.
        value: the tails' own values.
        prefix_keys: keys of each task's sequence.
        prefix_values: their values.
        visible: which of them the tails of a task see.
        scaling: factor on the scores.
        soft_cap: c of c * tanh(score / c), where the family caps scores (gemma2).
    """
    tasks, query_heads, rows, depth = query.shape
    heads = key.shape[1]
    grouped = query.reshape(tasks, heads, (query_heads // heads) * rows, depth)
    hidden = torch.zeros(tasks, 1, 1, visible.shape[1] + 1, dtype=query.dtype, device=query.device)
    hidden[..., :-1].masked_fill_(~visible.to(query.device)[:, None, None], float("-inf"))
    read: Tensor = _TailAttention.apply(  # pyrefly: ignore[bad-assignment]
        grouped, key, value, _and_self(prefix_keys), _and_self(prefix_values), hidden, scaling,
        soft_cap,
    )  # fmt: skip
    return read.reshape(tasks, query_heads, rows, depth)


def _and_self(prefix: Tensor) -> Tensor:
    """Room for the self term behind the prefix: a zero key or value that every product may meet."""
    return torch.nn.functional.pad(prefix, (0, 0, 0, 1))


class _TailAttention(torch.autograd.Function):
    """Written out, as autograd would keep five tensors of [rows, T] where one is needed."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        keys: Tensor,
        values: Tensor,
        hidden: Tensor,
        scaling: float,
        soft_cap: float | None,
    ) -> Tensor:
        """[t, Hkv, G*R, d] queries against [t, Hkv, T+1, d] keys, the last being the tail's own."""
        scores = torch.matmul(query, keys.transpose(-1, -2)).mul_(scaling)
        scores[..., -1] = _with_self(query, key).mul_(scaling)
        if soft_cap is not None:
            scores.div_(soft_cap).tanh_().mul_(soft_cap)
        accurate = torch.float64 if scores.dtype == torch.float64 else torch.float32
        weights = torch.softmax(scores + hidden, dim=-1, dtype=accurate).to(query.dtype)
        ctx.save_for_backward(  # pyrefly: ignore[missing-attribute]
            query, key, value, keys, values, weights, *([scores] if soft_cap is not None else [])
        )
        ctx.constants = scaling, soft_cap  # pyrefly: ignore[missing-attribute]
        read = torch.matmul(weights, values)
        own = _grouped(weights[..., -1:], value) * value[:, :, None]
        return read.add_(own.flatten(2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the tails' query, key and value."""
        query, key, value, keys, values, weights, *capped = ctx.saved_tensors
        scaling, soft_cap = ctx.constants
        outer = gradients[0].contiguous()
        inner = torch.matmul(outer, values.transpose(-1, -2))
        inner[..., -1] = _with_self(outer, value)
        inner.sub_((inner * weights).sum(-1, keepdim=True)).mul_(weights)
        if soft_cap is not None:
            inner.mul_(1 - (capped[0] / soft_cap).square())
        inner.mul_(scaling)
        own = _grouped(inner[..., -1:], key)
        to_query = torch.matmul(inner, keys).add_((own * key[:, :, None]).flatten(2, 3))
        to_key = (own * _grouped(query, key)).sum(2)
        to_value = (_grouped(weights[..., -1:], value) * _grouped(outer, value)).sum(2)
        return to_query, to_key, to_value, None, None, None, None, None


def _grouped(rows: Tensor, like: Tensor) -> Tensor:
    """[t, Hkv, G*R, x] as [t, Hkv, G, R, x], R being that of ``like`` [t, Hkv, R, d]."""
    return rows.unflatten(2, (-1, like.shape[2]))


def _with_self(rows: Tensor, own: Tensor) -> Tensor:
    """<row, own vector of its tail> for [t, Hkv, G*R, d] and [t, Hkv, R, d]."""
    return (_grouped(rows, own) * own[:, :, None]).sum(-1).flatten(2)
