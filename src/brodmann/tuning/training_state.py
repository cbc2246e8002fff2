"""What training changes besides the weights, and how it is put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

_CHECKPOINTING = ("gradient_checkpointing", "_gradient_checkpointing_func")


@contextmanager
def left_as_it_was(trained: nn.Module, gradient_checkpointing: bool) -> Iterator[None]:
    """Inside the block a model may be trained; afterwards it is in eval mode, without gradients.

    What is put back is what this block and the Trainer change beside the weights: each module's
    settings of checkpointing, whether the embeddings' output takes gradients, the config's
    ``use_cache``, and the state of all generators of random numbers.

    With gradient checkpointing transformers has the embeddings' output take gradients, and so
    does PEFT where it finds checkpointing on. The backward pass would then go down through all
    frozen layers to the embeddings; the form of checkpointing used here needs no such thing, and
    inside the block embeddings that are frozen give outputs without gradients.

    Args:
        trained: a Hugging Face model, or a PeftModel around one.
        gradient_checkpointing: compute activations again in the backward pass.
    """
    inner = getattr(trained, "get_base_model", None)
    base: Any = inner() if callable(inner) else trained
    try:
        with _own_settings(base), _own_randomness(), _nothing_below(base.get_input_embeddings()):
            _set_checkpointing(base, gradient_checkpointing)
            yield
    finally:
        trained.zero_grad()
        trained.eval()


def _set_checkpointing(base: Any, wanted: bool) -> None:
    was_on = any(getattr(module, "gradient_checkpointing", False) for module in base.modules())
    if wanted or was_on:
        enable = getattr(base, "activation_checkpointing_enable", None)
        (enable or base.gradient_checkpointing_enable)({"use_reentrant": False})
        base.disable_input_require_grads()


@contextmanager
def _own_settings(base: Any) -> Iterator[None]:
    """Inside the block checkpointing may be set, and embeddings' outputs take no gradients."""
    before = [(m, {n: vars(m)[n] for n in _CHECKPOINTING if n in vars(m)}) for m in base.modules()]
    cached = getattr(base.config, "use_cache", None)
    took_gradients = bool(getattr(base, "_require_grads_hooks", None))
    base.disable_input_require_grads()  # first: switched on twice, one hook would be forgotten
    try:
        yield
    finally:
        for module, settings in before:
            for name in _CHECKPOINTING:
                vars(module).pop(name, None)
            vars(module).update(settings)
        if cached is not None:
            base.config.use_cache = cached
        if took_gradients:
            base.enable_input_require_grads()


@contextmanager
def _nothing_below(embeddings: nn.Module) -> Iterator[None]:
    """Inside the block no backward pass reaches embeddings that are not trained."""
    if any(parameter.requires_grad for parameter in embeddings.parameters()):
        yield
        return
    # Both libraries ask twice and then remember one hook of two: what is left is cut off here.
    hook = embeddings.register_forward_hook(lambda _, __, output: output.detach())
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Inside the block seeds may be set; afterwards all generators go on as before."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
