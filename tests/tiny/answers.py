"""Questions that tiny models answer, and what the slow reference says of their neurons."""

from collections.abc import Sequence

import torch
from torch import Tensor

from brodmann.data import Example
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import tokenise_answers
from tests.reference.attribution import attribution_reference
from tests.tiny.families import FLOAT32_INSIDE

EXAMPLES = [
    Example("1+2=", "3", delimiter=""),
    Example("a much longer prompt, 12-7=", "5", delimiter=""),
    Example("2*3 is", "6"),
    Example("the sum of 7 and 5 =", "12"),
    Example("9*4 is", "thirty-six"),
]
"""Prompts of unequal length; answers of one, of two (``chars``) and of nine or ten tokens."""

TWO = [Example("9-4=", "5", delimiter=""), Example("7 and 5 =", "12!")]
"""A short and a longer prompt, for tests that go through many options."""


def tokens_of(model: LanguageModel, examples: Sequence[Example]) -> list[tuple[list[int], int]]:
    """(ids of prompt and answer, how many of them are the prompt's) of each example."""
    texts = [(example.prompt, example.delimiter, example.answer) for example in examples]
    return [(list(answer.ids), answer.n_prompt) for answer in tokenise_answers(model, texts)]


def reference_scores(
    model: LanguageModel, examples: Sequence[Example], **options: object
) -> Tensor:
    """What :func:`attribution_reference` says of these examples, [L, N] in float64."""
    return attribution_reference(model, tokens_of(model, examples), **options)


def relative_error(given: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected number."""
    expected = expected.double()
    return float((given.double() - expected).abs().max() / expected.abs().max())


def rounding(family: str, dtype: torch.dtype) -> float:
    """How far two ways to compute the same numbers may be apart, relatively."""
    if dtype == torch.float32:
        return 1e-4
    return 1e-6 if family in FLOAT32_INSIDE else 1e-10
