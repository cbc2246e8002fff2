"""Tiny models for tests: one per family, and some whose right answer is known."""

from tests.tiny.families import (
    FLOAT32_INSIDE,
    MOE_FAMILIES,
    POST_NORM_FAMILIES,
    TINY_FAMILIES,
    packable_model,
    tiny_model,
)
from tests.tiny.planted import Planted, planted_model
from tests.tiny.tokenizers import tiny_tokenizer

__all__ = [
    "FLOAT32_INSIDE",
    "MOE_FAMILIES",
    "POST_NORM_FAMILIES",
    "TINY_FAMILIES",
    "Planted",
    "packable_model",
    "planted_model",
    "tiny_model",
    "tiny_tokenizer",
]
