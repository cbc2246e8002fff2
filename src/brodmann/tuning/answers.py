"""Examples as rows to train on, where only the answer's tokens have labels, and their batches."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import DataError, InputError
from brodmann.models.batches import right_padded
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import TokenisedAnswer, tokenise_answers

IGNORED = -100
"""The label of a token that the loss does not ask for."""

Row = dict[str, list[int]]
"""``input_ids`` and ``labels`` of one example, of equal length."""


def training_rows(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    end_of_text: bool = False,
    chat_template: Literal["off", "auto"] = "off",
) -> list[Row]:
    """Tokenise examples to train on the tokens that localisation calls the answer.

    Args:
        model: the model that learns.
        examples: what it learns; prompt + delimiter + answer.
        end_of_text: learn to stop as well: the tokenizer's end-of-text token follows the answer.
        chat_template: ``"auto"`` puts the prompt into the user's turn.

    Returns:
        A row for each example: ``input_ids``, and ``labels`` that are -100 in front of the answer.

    Raises:
        DataError: no examples, one that cannot be tokenised apart, or one too long for the model.
        InputError: an end of text is asked for and the tokenizer has none.
    """
    if not examples:
        raise DataError("Expected at least one example to train on; got none.")
    texts = [(example.prompt, example.delimiter, example.answer) for example in examples]
    tokenised = tokenise_answers(model, texts, chat_template=chat_template)
    end = _end_of_text(model) if end_of_text else []
    return [_row(model, answer, end) for answer in tokenised]


def _end_of_text(model: LanguageModel) -> list[int]:
    end = model.tokenizer.eos_token_id
    if not isinstance(end, int):
        raise InputError(
            f"Expected a tokenizer with an end-of-text token; that of {model.name} has none. "
            "Write end_of_text=False (--no-end-of-text)."
        )
    return [end]


def _row(model: LanguageModel, answer: TokenisedAnswer, end: list[int]) -> Row:
    ids = [*answer.ids, *end]
    if model.max_tokens is not None and len(ids) > model.max_tokens:
        raise DataError(
            f"Expected at most {model.max_tokens} tokens (the context of {model.name}); an "
            f"example has {len(ids)} with its end of text. Shorten it, or write "
            "end_of_text=False (--no-end-of-text)."
        )
    return {"input_ids": ids, "labels": [IGNORED] * answer.n_prompt + ids[answer.n_prompt :]}


def blank_row(pad_id: int) -> Row:
    """Return a row that teaches nothing: it fills the batch of a process that has no other."""
    return {"input_ids": [pad_id] * 2, "labels": [IGNORED] * 2}


def collated(rows: Sequence[Row], pad_id: int) -> dict[str, Int[Tensor, "B T"]]:
    """Put rows of unequal length into one batch, padded behind.

    Args:
        rows: what :func:`training_rows` gave.
        pad_id: what stands on padding (``model.pad_id``); it is masked, and its label is -100.
    """
    batch = right_padded([row["input_ids"] for row in rows], pad_id)
    labels = torch.full_like(batch.input_ids, IGNORED)
    for place, row in enumerate(rows):
        labels[place, : len(row["labels"])] = torch.tensor(row["labels"])
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": labels}
