"""Change what an MLP writes, with gradients, and leave a forward pass early.

Hooks beside those of :mod:`brodmann.models.activations`, which is at the length of a file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.models.language_model import LanguageModel


class _Left(Exception):
    """Ends a forward pass behind the last layer that is wanted."""


@contextmanager
def written_shifted(
    model: LanguageModel, layer: int, positions: Int[Tensor, "P"], shift: Float[Tensor, "D"]
) -> Iterator[None]:
    """Add a vector to what one layer's MLP writes at some tokens, inside the block.

    The vector is added to the down projection's output (bias included), before post-norm and
    multiplier; gradients reach it.

    Args:
        model: the model; the hook is removed at the end of the block.
        layer: whose MLP.
        positions: flat indices b * T + t into the batch [B, T], each once.
        shift: what is added.
    """

    def add(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        flat = output.reshape(-1, output.shape[-1])
        added = shift.to(flat.device, flat.dtype).expand(len(positions), -1)
        return flat.index_add(0, positions.to(flat.device), added).view_as(output)

    hook = model.sites[layer].writer.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def left_behind(model: LanguageModel, layer: int) -> Iterator[None]:
    """Let a forward pass inside the block end behind one layer; what follows it is not run.

    The pass gives nothing back: the block ends there, without an error. For passes that are only
    observed, at this layer and below.
    """

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        raise _Left

    hook = model.sites[layer].layer_module.register_forward_hook(leave)
    try:
        yield
    except _Left:
        pass
    finally:
        hook.remove()
