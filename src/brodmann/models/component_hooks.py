"""Route what components send to what others read, while the model runs.

Apart from ``activations.py``, which is full: these hooks know heads and norms, not neurons. The
model's own modules compute; of a layer's attention only the inputs of the query, key and value
projections are ours, one for each head, and of its MLP the input.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.attention_sites import AttentionSite, HeadRows
from brodmann.models.component_graph import ComponentGraph
from brodmann.models.norms import Norm
from brodmann.models.sites import DenseSite, NeuronSite


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """One layer's components, and the norms in front of them and behind.

    Attributes:
        site: the MLP.
        attention: the heads.
        attention_norm: the norm in front of the heads; None where they read the stream itself.
        mlp_norm: likewise of the MLP.
        post_norm: the numbers of the norm behind the heads, where there is one.
        parallel: whether the MLP reads the layer's input.
    """

    site: NeuronSite
    attention: AttentionSite
    attention_norm: nn.Module | None
    mlp_norm: nn.Module | None
    post_norm: Norm | None
    parallel: bool


@dataclass(frozen=True, eq=False, slots=True)
class Components:
    """A model's components and their graph; made by :func:`components_of`.

    Attributes:
        blocks: the layers, from the bottom up.
        final_norm: the norm in front of the unembedding.
        graph: the names, and who reads whom.
        dtype: the type that contributions are computed in.
    """

    blocks: Sequence[Block]
    final_norm: nn.Module
    graph: ComponentGraph
    dtype: torch.dtype


class Traffic:
    """What happens between components; this one changes nothing. Subclasses observe and reroute."""

    def entering(self, stream: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """What enters layer 0 in the place of ``stream``."""
        return stream

    def sent(
        self,
        span: slice,
        values: Float[Tensor, "B T s D"],
        constant: Float[Tensor, "#B #T D"] | None,
    ) -> None:
        """Senders ``span`` add ``values`` to the residual stream.

        Args:
            span: places among the senders.
            values: one contribution for each.
            constant: what is added beside them and belongs to no component (a bias).
        """

    def received(
        self, span: slice, stream: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T r D"] | Float[Tensor, "B T 1 D"]:
        """What receivers ``span`` read in the place of the residual ``stream``.

        Returns:
            One stream for each receiver, or one for all of them.
        """
        return stream[:, :, None]


@contextmanager
def routed(components: Components, traffic: Traffic) -> Iterator[None]:
    """Inside the block, forward passes of the model go through ``traffic``.

    Only hooks are set, and taken away at the end, also after an exception.
    """
    with ExitStack() as stack:
        for layer in range(len(components.blocks)):
            _Router(components, layer, traffic).hook(stack)

        def read_out(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            seen = traffic.received(components.graph.logits_receiver, args[0])
            return (seen[:, :, 0].to(args[0].dtype), *args[1:])

        hook = components.final_norm.register_forward_pre_hook(read_out)
        stack.callback(hook.remove)
        yield


class _Router:
    """The hooks of one layer; the tensors of the current pass are kept between them."""

    def __init__(self, components: Components, layer: int, traffic: Traffic) -> None:
        self.block, self.layer = components.blocks[layer], layer
        self.graph, self.traffic, self.dtype = components.graph, traffic, components.dtype
        self.stream = torch.empty(0)
        self.between = torch.empty(0)
        self.attention_inputs = torch.empty(0)

    def hook(self, stack: ExitStack) -> None:
        site, attention = self.block.site, self.block.attention
        hooks = [
            site.layer_module.register_forward_pre_hook(self.enter, with_kwargs=True),
            attention.output.register_forward_hook(self.send_heads),
            (site.post_norm or site.writer).register_forward_hook(self.send_mlp),
        ]
        modules: dict[nn.Module, list[tuple[HeadRows, slice]]] = {}
        for rows, places in attention.projections:
            modules.setdefault(rows.module, []).append((rows, places))
        for module, parts in modules.items():
            hooks.append(module.register_forward_hook(self.projecting(parts)))
        if self.block.mlp_norm is not None and not self.block.parallel:
            hooks.append(self.block.mlp_norm.register_forward_pre_hook(self.note_between))
        for module in mlp_readers(site):
            hooks.append(module.register_forward_pre_hook(self.read_mlp))
        for hook in hooks:
            stack.callback(hook.remove)

    def enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        stream = layer_input(args, kwargs)
        if self.layer == 0:
            stream = self.traffic.entering(stream)
            self.traffic.sent(slice(0, 1), stream[:, :, None].to(self.dtype), None)
        self.stream = stream
        span = self.graph.attention_receivers(self.layer)
        seen = self.traffic.received(span, stream).to(stream.dtype)
        seen = seen.expand(-1, -1, span.stop - span.start, -1)
        self.attention_inputs = _normed(self.block.attention_norm, seen)
        return with_layer_input(args, kwargs, stream)

    def projecting(self, parts: list[tuple[HeadRows, slice]]) -> Any:
        order = torch.cat([rows.rows.flatten() for rows, _ in parts]).argsort()

        def project(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            found = [rows.apply(self.attention_inputs[:, :, places]) for rows, places in parts]
            joined = torch.cat([part.flatten(2) for part in found], -1)
            return joined[..., order.to(joined.device)].to(output.dtype)

        return project

    def send_heads(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        values, bias = self.block.attention.contributions(args[0], self.dtype)
        norm, factor = self.block.post_norm, self.block.site.multiplier
        if norm is not None:
            spread = norm.spread(output)
            values = norm.linear(values, spread[:, :, None])
            bias = None if bias is None else norm.linear(bias, spread)
        constant = None if bias is None else bias * factor
        self.traffic.sent(self.graph.head_senders(self.layer), values * factor, constant)

    def note_between(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        self.between = args[0]

    def read_mlp(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        given = args[0]
        if self.block.parallel:
            stream = self.stream
        else:
            stream = given if self.block.mlp_norm is None else self.between
        stream = stream.reshape(self.stream.shape)  # OPT flattens [B, T, D] before its MLP
        seen = self.traffic.received(self.graph.mlp_receiver(self.layer), stream)
        normed = _normed(self.block.mlp_norm, seen[:, :, 0].to(given.dtype))
        return (normed.reshape(given.shape), *args[1:])

    def send_mlp(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        values = output.reshape(self.stream.shape).to(self.dtype) * self.block.site.multiplier
        self.traffic.sent(self.graph.mlp_sender(self.layer), values[:, :, None], None)


def mlp_readers(site: NeuronSite) -> tuple[nn.Module, ...]:
    """The modules whose first argument is what the MLP reads."""
    if isinstance(site, DenseSite) and site.mlp is site.layer_module:  # OPT has no MLP module
        return site.inward
    return (site.mlp,)


def layer_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The hidden states that a layer was called with.

    Raises:
        ModelError: there are none where all families have them.
    """
    given = args[0] if args else kwargs.get("hidden_states")
    if not isinstance(given, Tensor):
        raise ModelError("Expected a layer that is given hidden states first; it was given none.")
    return given


def with_layer_input(
    args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with other hidden states."""
    if args:
        return (hidden, *args[1:]), kwargs
    return args, kwargs | {"hidden_states": hidden}


def _normed(norm: nn.Module | None, stream: Tensor) -> Tensor:
    # forward, not the call: the hooks on the norm are for the model's own passes.
    return stream if norm is None else norm.forward(stream)
