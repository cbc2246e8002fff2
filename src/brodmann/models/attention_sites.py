"""Where the attention heads are: rows of the query, key and value maps, columns of the output."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.architectures import Architecture, submodule
from brodmann.models.language_model import LanguageModel
from brodmann.models.weights import base_layer, dense_weight


@dataclass(frozen=True, eq=False, slots=True)
class HeadRows:
    """One of a layer's three projections: which rows of which module make each head's vector.

    Attributes:
        module: the projection; the same for queries, keys and values where they are fused.
        rows: of its output, for each head [h, d].
    """

    module: nn.Module
    rows: Int[Tensor, "h d"]

    def apply(self, x: Float[Tensor, "B T h D"]) -> Float[Tensor, "B T h d"]:
        """What each head makes of an input of its own; gradients flow to the inputs."""
        with_gradients = torch.is_grad_enabled()
        with dense_weight(self.module) as weight, torch.set_grad_enabled(with_gradients):
            own = weight[self.rows.to(weight.device)].to(x.dtype)
            out = torch.einsum("bthk,hdk->bthd", x, own)
            bias = getattr(base_layer(self.module), "bias", None)
            return out if bias is None else out + bias[self.rows.to(bias.device)].to(out)

    @property
    def parameters_per_head(self) -> int:
        """Weights and biases of one head's rows."""
        with dense_weight(self.module) as weight:
            biased = getattr(base_layer(self.module), "bias", None) is not None
            return self.rows.shape[1] * (weight.shape[1] + biased)


@dataclass(frozen=True, eq=False, slots=True)
class AttentionSite:
    """The attention heads of one layer.

    Head h attends with the keys and values of key head ``h // (heads // key_heads)``.

    Attributes:
        heads: query heads (H).
        key_heads: heads of keys and values; fewer under grouped-query attention.
        queries: rows of each query head.
        keys: rows of each key head.
        values: rows of each value head.
        output: the projection of the heads' results, [H * d] to [D].
        post_norm: the norm that its output passes before it is added, or None.
    """

    heads: int
    key_heads: int
    queries: HeadRows
    keys: HeadRows
    values: HeadRows
    output: nn.Module
    post_norm: nn.Module | None

    @property
    def projections(self) -> tuple[tuple[HeadRows, slice], ...]:
        """Queries, keys and values, each with its places among the layer's q, k and v inputs."""
        h, g = self.heads, self.key_heads
        places = (slice(0, h), slice(h, h + g), slice(h + g, h + 2 * g))
        return tuple(zip((self.queries, self.keys, self.values), places, strict=True))

    def contributions(
        self, results: Float[Tensor, "B T _"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, "B T h D"], Float[Tensor, "1 1 D"] | None]:
        """What each head's result adds to the projection's output, and the bias, no head's own."""
        by_head = results.to(dtype).unflatten(-1, (self.heads, -1))
        with_gradients = torch.is_grad_enabled()
        with dense_weight(self.output) as weight, torch.set_grad_enabled(with_gradients):
            columns = weight.to(dtype).unflatten(1, (self.heads, -1))
            written = torch.einsum("bthd,khd->bthk", by_head, columns)
            bias = getattr(base_layer(self.output), "bias", None)
            return written, None if bias is None else bias.to(dtype)[None, None]

    @property
    def output_parameters_per_head(self) -> int:
        """Weights of one head's columns of the output projection."""
        with dense_weight(self.output) as weight:
            return weight.numel() // self.heads


def attention_sites(model: LanguageModel) -> tuple[AttentionSite, ...]:
    """The attention heads of every layer, where the architecture row says they are.

    How many heads there are is told by the config, how many of keys and values by the shapes.
    :func:`brodmann.models.components.components_of` proves it.

    Raises:
        ModelError: a module that the row names is not there, or its shape fits no heads.
    """
    heads = int(model.hf.config.get_text_config().num_attention_heads)
    return tuple(
        _site(site.layer_module, site.layer, model.architecture, heads) for site in model.sites
    )


def _site(layer: nn.Module, index: int, row: Architecture, heads: int) -> AttentionSite:
    attention = _required(layer, row.self_attention, index, row)
    output = _required(attention, row.attention_output, index, row)
    post_norm = row.attention_post_norm
    width = _shape(output)[1] // heads
    if row.fused:
        fused = _required(attention, row.fused, index, row)
        rows = _fused_rows(_shape(fused)[0], heads, width, row.fused_layout, index)
        queries, keys, values = (HeadRows(fused, own) for own in rows)
    else:
        names = (row.query, row.key, row.value)
        modules = [_required(attention, name, index, row) for name in names]
        queries, keys, values = (
            HeadRows(module, torch.arange(_shape(module)[0]).view(-1, width)) for module in modules
        )
    return AttentionSite(
        heads=heads,
        key_heads=len(keys.rows),
        queries=queries,
        keys=keys,
        values=values,
        output=output,
        post_norm=_required(layer, post_norm, index, row) if post_norm else None,
    )


def _fused_rows(total: int, heads: int, width: int, layout: str, index: int) -> list[Tensor]:
    key_heads, rest = divmod(total - heads * width, 2 * width)
    if rest or key_heads < 1 or heads % key_heads:
        raise ModelError(
            f"Expected queries of {heads} heads of width {width}, keys and values in one matrix; "
            f"layer {index} has {total} rows. Correct the row in brodmann/models/architectures.py."
        )
    rows = torch.arange(total)
    if layout == "blocks":
        return [part.view(-1, width) for part in rows.split(
            [heads * width, key_heads * width, key_heads * width])]  # fmt: skip
    groups = rows.view(key_heads, heads // key_heads + 2, width)
    return [groups[:, :-2].reshape(heads, width), groups[:, -2], groups[:, -1]]


def _shape(module: nn.Module) -> tuple[int, int]:
    with dense_weight(module) as weight:
        return weight.shape[0], weight.shape[1]


def _required(root: nn.Module, path: str, index: int, row: Architecture) -> nn.Module:
    module = submodule(root, path)
    if module is None:
        raise ModelError(
            f"Expected '{path}' in layer {index} as architecture row '{row.name}' says; "
            f"{type(root).__name__} has none. Correct the row in brodmann/models/architectures.py."
        )
    return module
