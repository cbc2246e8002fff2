"""`components_of`: a model's heads and MLPs as a graph, found by probing and proven by two checks.

Nothing but the modules' names comes from the architecture row. Which norm stands in front of the
heads and of the MLP, whether the MLP reads what the heads write, and which rows are which head's
is seen in one forward pass of a few tokens, in whose rows single heads are disturbed. Then the
contributions of all components must add up to what every layer, MLP and the final norm read.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.attention_sites import AttentionSite, attention_sites
from brodmann.models.component_graph import ComponentGraph
from brodmann.models.component_hooks import (
    Block,
    Components,
    Traffic,
    layer_input,
    mlp_readers,
    routed,
    with_layer_input,
)
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module
from brodmann.models.norms import read_norm
from brodmann.models.sites import NeuronSite

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}
_COARSE = 0.06
"""Of 16-bit and packed weights: what is summed in float32 here is rounded there at each layer."""

_N_TOKENS = 6


@dataclass(slots=True)
class _Seen:
    """What one layer did in the probing pass; row 0 is undisturbed."""

    written: dict[int, nn.Module] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    attention_read: Tensor | None = None
    mlp_read: Tensor | None = None
    results: Tensor | None = None


@torch.no_grad()
def components_of(model: LanguageModel) -> Components:
    """A model's components and their graph.

    Raises:
        ModelError: the attention cannot be split into the heads that the architecture row names,
            or contributions do not add up to the residual stream.
    """
    attentions = attention_sites(model)
    rows = 2 + max(site.heads + 2 * site.key_heads for site in attentions)
    vocabulary = int(model.hf.config.get_text_config().vocab_size)
    ids = (torch.arange(_N_TOKENS, device=model.device) * 4 + 3) % vocabulary
    with _probing(model, attentions) as seen:
        model.decoder(input_ids=ids.expand(rows, -1), use_cache=False)
    blocks = tuple(
        _block(model, site, attention, probe)
        for site, attention, probe in zip(model.sites, attentions, seen, strict=True)
    )
    graph = ComponentGraph(
        tuple(block.attention.heads for block in blocks),
        tuple(block.attention.key_heads for block in blocks),
        tuple(block.parallel for block in blocks),
    )
    components = Components(blocks, final_norm_module(model), graph, model.score_dtype)
    _check_sums(model, components, ids[None])
    return components


def _block(model: LanguageModel, site: NeuronSite, attention: AttentionSite, seen: _Seen) -> Block:
    if seen.attention_read is None or seen.mlp_read is None or seen.results is None:
        raise _wrong(model, f"attention or MLP of layer {site.layer} did not run")
    _check_heads(model, site.layer, attention, seen.results)
    post_norm = None
    if attention.post_norm is not None:
        device = seen.results.device
        post_norm = read_norm(attention.post_norm, model.width, device, model.dtype)
    return Block(
        site=site,
        attention=attention,
        attention_norm=seen.written.get(seen.attention_read.data_ptr()),
        mlp_norm=seen.written.get(seen.mlp_read.data_ptr()),
        post_norm=post_norm,
        parallel=torch.equal(
            *(seen.mlp_read.reshape(len(seen.results), -1)[row] for row in (0, 1))
        ),
    )


def _check_heads(
    model: LanguageModel, layer: int, attention: AttentionSite, results: Tensor
) -> None:
    """Disturbing the rows of a head must change no other head's result more than its own.

    Others may change: olmo2 normalises the queries of all heads together. None may: a head whose
    values are zero.
    """
    change = (results - results[:1]).float().unflatten(-1, (attention.heads, -1))
    change = change.square().sum((1, 3)).sqrt()[2:]
    group = attention.heads // attention.key_heads
    row = 0
    for rows, _ in attention.projections:
        size = attention.heads // len(rows.rows)
        assert size in (1, group)
        for head in range(len(rows.rows)):
            own = torch.zeros(attention.heads, dtype=torch.bool)
            own[head * size : (head + 1) * size] = True
            found = change[row].cpu()
            if not own.all() and bool(found[~own].max() > found[own].max()):
                raise _wrong(model, f"rows of head {head} in layer {layer} act on other heads")
            row += 1


@contextmanager
def _probing(model: LanguageModel, attentions: tuple[AttentionSite, ...]) -> Iterator[list[_Seen]]:
    """Give every layer row 0 of its input in all rows; disturb row 1 behind the attention.

    The rows behind disturb one head's queries, keys or values each.
    """
    seen = [_Seen() for _ in attentions]
    with ExitStack() as stack:
        for site, attention, probe in zip(model.sites, attentions, seen, strict=True):
            for hook in _probes(site, attention, probe):
                stack.callback(hook.remove)
        yield seen


def _probes(site: NeuronSite, attention: AttentionSite, seen: _Seen) -> list[Any]:
    def same_rows(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hidden = layer_input(args, kwargs)
        return with_layer_input(args, kwargs, hidden[:1].expand_as(hidden).clone())

    def note_written(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen.written[output.data_ptr()] = module
            seen.kept.append(output)  # so that no later tensor takes its address

    def note_attention(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.attention_read = args[0]

    def note_mlp(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.mlp_read = args[0]

    def disturb_output(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        seen.results = args[0].clone()
        changed = output.clone()
        changed[1] += 1
        return changed

    children = (module for module in site.layer_module.children() if module is not site.mlp)
    hooks = [module.register_forward_hook(note_written) for module in children]
    hooks.append(site.layer_module.register_forward_pre_hook(same_rows, with_kwargs=True))
    hooks.append(attention.queries.module.register_forward_pre_hook(note_attention))
    hooks.append(attention.output.register_forward_hook(disturb_output))
    hooks += [module.register_forward_pre_hook(note_mlp) for module in mlp_readers(site)]
    row = 2
    for rows, _ in attention.projections:
        hooks.append(rows.module.register_forward_hook(_disturbing(rows.rows, row)))
        row += len(rows.rows)
    return hooks


def _disturbing(rows: Tensor, first: int) -> Callable[..., Tensor]:
    """Disturb one head in each row of the batch.

    Differently at each token: softmax ignores the same change of all keys.
    """

    def disturb(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        changed = output.clone()
        size = output.float().std().clamp_min(0.1)
        tokens = torch.arange(output.shape[1], device=output.device)[:, None]
        for head, own in enumerate(rows.to(output.device)):
            wave = torch.cos(tokens * 1.7 + own * 0.9) * size
            changed[first + head, :, own] += wave.to(output.dtype)
        return changed

    return disturb


class _Sums(Traffic):
    """Compares the sum of what was sent with what is read."""

    def __init__(self, graph: ComponentGraph) -> None:
        self.graph = graph
        self.sums: list[Tensor] = []
        self.error = 0.0

    def sent(
        self,
        span: slice,
        values: Float[Tensor, "B T s D"],
        constant: Float[Tensor, "#B #T D"] | None,
    ) -> None:
        added = values.sum(2) if constant is None else values.sum(2) + constant
        self.sums += [torch.zeros_like(added)] * (span.stop - span.start - 1) + [added]

    def received(self, span: slice, stream: Float[Tensor, "B T D"]) -> Float[Tensor, "B T 1 D"]:
        before = self.sums[: self.graph.before[span.start]]
        total = torch.stack([part.to(stream.device) for part in before]).sum(0)
        gap = (total - stream).abs().max()
        self.error = max(self.error, float(gap / stream.abs().max()))
        return stream[:, :, None]


def _check_sums(model: LanguageModel, components: Components, ids: Tensor) -> None:
    limit = _TOLERANCE.get(model.dtype, _COARSE)
    if any(site.quantised for site in model.sites):
        limit = _COARSE
    plain = model.decoder(input_ids=ids, use_cache=False).last_hidden_state
    sums = _Sums(components.graph)
    with routed(components, sums):
        rerouted = model.decoder(input_ids=ids, use_cache=False).last_hidden_state
    if not sums.error <= limit:
        raise _wrong(
            model, f"contributions miss the residual stream by {sums.error:.2g} of its largest"
        )
    error = float((plain - rerouted).abs().max() / plain.abs().max())
    if not error <= 10 * limit:
        raise _wrong(model, f"heads read apart change the model's output by {error:.2g}")


def _wrong(model: LanguageModel, why: str) -> ModelError:
    return ModelError(
        f"Expected attention heads as architecture row '{model.architecture.name}' says; in "
        f"'{model.name}' {why}. Correct the row in brodmann/models/architectures.py."
    )
