"""What attention and MLP of a layer give to the residual stream: recorded, and replaced.

Hooks beside those of :mod:`brodmann.models.activations`, which is at the length of a file and
looks at what an MLP writes in front of a post-norm; here it is what arrives behind it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.architectures import submodule
from brodmann.models.language_model import LanguageModel

SUBLAYERS = ("mlp", "attention")


def sublayer_output(model: LanguageModel, layer: int, sublayer: str) -> nn.Module:
    """The module whose output reaches the residual stream, but for a constant factor (granite).

    The post-norm where a family has one, else the projection back to the residual stream. The
    attention and MLP modules themselves will not do: in bloom and mpt they add the residual.

    Args:
        model: the model.
        layer: which layer.
        sublayer: ``"mlp"`` or ``"attention"``.

    Raises:
        ModelError: the architecture row names an attention that is not there.
    """
    site, row = model.sites[layer], model.architecture
    if sublayer == "mlp":
        return site.writer if site.post_norm is None else site.post_norm
    path = row.attention_post_norm or f"{row.self_attention}.{row.attention_output}"
    module = submodule(site.layer_module, path)
    if module is None:
        raise ModelError(
            f"Expected the attention's output at '{path}' in layer {layer} as architecture row "
            f"'{row.name}' says; '{model.name}' has none there. Correct the row in "
            "brodmann/models/architectures.py."
        )
    return module


@contextmanager
def sublayers_recorded(model: LanguageModel) -> Iterator[dict[str, list[Tensor]]]:
    """Record what every sublayer gives in a forward pass inside the block.

    Yields:
        Sublayer -> its outputs [B * T, D], layer by layer, filled by the (last) pass.
    """
    found = {name: [torch.empty(0)] * model.n_layers for name in SUBLAYERS}
    with ExitStack() as stack:
        for name, outputs in found.items():
            for layer in range(model.n_layers):
                hook = _recording_hook(outputs, layer)
                module = sublayer_output(model, layer, name)
                stack.callback(module.register_forward_hook(hook).remove)
        yield found


@contextmanager
def sublayers_replaced(
    model: LanguageModel,
    layer: int,
    given: Mapping[str, tuple[Int[Tensor, "r"], Float[Tensor, "D"]]],
) -> Iterator[None]:
    """Let sublayers of one layer give another vector at some tokens, inside the block.

    Args:
        model: the model; hooks are removed at the end of the block.
        layer: which layer.
        given: sublayer -> flat positions b * T + t, and the vector that all of them get.
    """
    with ExitStack() as stack:
        for name, (rows, vector) in given.items():
            module = sublayer_output(model, layer, name)
            stack.callback(module.register_forward_hook(_replacing_hook(rows, vector)).remove)
        yield


@contextmanager
def embeddings_shifted(
    model: LanguageModel, start: int, shift: Float[Tensor, "B s D"]
) -> Iterator[None]:
    """Add vectors to what the embedding module gives for the tokens from ``start`` on.

    It is the module's own output: a family that scales embeddings or adds positions to them
    outside of it does so afterwards.
    """

    def add(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        shifted = output.clone()
        shifted[:, start : start + shift.shape[1]] += shift.to(output.device, output.dtype)
        return shifted

    hook = model.hf.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def check_sublayers(
    model: LanguageModel, states: list[Tensor], sublayers: Mapping[str, list[Tensor]]
) -> None:
    """Raise unless every layer adds what its sublayers gave, and nothing else.

    Args:
        model: the model.
        states: what each layer was given, and the last one's output: L + 1 tensors [B, T, D].
        sublayers: what the sublayers gave in the same pass.

    Raises:
        ModelError: the architecture row is not true of this model.
    """
    rounding = torch.finfo(model.dtype).eps
    for site, below, above in zip(model.sites, states[:-1], states[1:], strict=True):
        parts = [
            sublayers[name][site.layer].to(above.device, model.score_dtype) for name in SUBLAYERS
        ]
        added = (torch.stack(parts).sum(0) * site.multiplier).flatten()
        seen = (above.to(added) - below.to(added)).flatten()
        limit = rounding**0.5 * added.abs().max() + 8 * rounding * above.abs().max()
        error = (seen - added).abs().max()
        if not error <= limit:
            raise ModelError(
                f"'{model.name}' is not what architecture row '{model.architecture.name}' says: "
                f"layer {site.layer} adds something else than its attention and MLP give (error "
                f"{error:.2g}, limit {limit:.2g}). It needs a row of its own (CONTRIBUTING, 'Add "
                "an architecture')."
            )


def _recording_hook(outputs: list[Tensor], layer: int) -> Any:
    def record(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # A copy: Falcon adds to what the MLP gave in place.
        outputs[layer] = output.detach().reshape(-1, output.shape[-1]).clone()

    return record


def _replacing_hook(rows: Tensor, vector: Tensor) -> Any:
    def replace(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        flat = output.reshape(-1, output.shape[-1]).clone()
        flat[rows.to(flat.device)] = vector.to(flat.device, flat.dtype)
        return flat.view_as(output)

    return replace
