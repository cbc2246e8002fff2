"""Tiny models opened by brodmann, for tests."""

import torch

from brodmann.models.language_model import LanguageModel
from brodmann.models.load import wrap_model
from tests.tiny.families import tiny_model


def opened(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> LanguageModel:
    """A tiny random model of a family as `load_model` gives it."""
    hf, tokenizer = tiny_model(name, dtype, seed)
    return wrap_model(hf, tokenizer, name=f"tiny-{name}")
