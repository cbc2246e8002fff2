"""What training changes besides the weights, and how it is put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def left_as_it_was(trained: nn.Module, gradient_checkpointing: bool) -> Iterator[None]:
    """Inside the block a model may be trained; afterwards it is in eval mode and as before.

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
    cached = getattr(base.config, "use_cache", None)
    was_on = any(getattr(module, "gradient_checkpointing", False) for module in base.modules())
    if gradient_checkpointing or was_on:
        enable = getattr(base, "activation_checkpointing_enable", None)
        (enable or base.gradient_checkpointing_enable)({"use_reentrant": False})
    base.disable_input_require_grads()
    try:
        with _own_randomness(), _nothing_below(base.get_input_embeddings()):
            yield
    finally:
        if gradient_checkpointing and not was_on:
            disable = getattr(base, "activation_checkpointing_disable", None)
            (disable or base.gradient_checkpointing_disable)()
        base.config.use_cache = cached
        trained.zero_grad()
        trained.eval()


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
