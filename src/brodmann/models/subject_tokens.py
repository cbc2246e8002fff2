"""Where a fact's subject stands, in tokens of prompt + delimiter + answer."""

import re
from typing import Any

from brodmann.errors import DataError
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import Span, tokenise_answer


def subject_span(
    model: LanguageModel, prompt: str, subject: str, delimiter: str, answer: str
) -> Span:
    """The token positions [start, end) of a fact's subject, special tokens in front counted.

    Positions are those of :func:`brodmann.models.tokens.tokenise_answer`: the three texts are
    tokenised together and the subject is found by the tokens' places in the text, never by
    tokenising it alone. Every token that holds a character of the subject belongs to it, so that
    one shared with a neighbour ("Paris's" as one token, " Paris" with its space) does too; a
    token of white space alone in front does not.

    Where the subject stands several times in the prompt, the last counts, as an edit of facts
    (ROME) acts at the subject's last token; a place where it is a word of its own comes before
    one inside another word ("Ann" in "Ann moved to Annapolis"). The peer (ROME's
    ``find_token_range``) takes the first, and searches in concatenated decoded tokens, which
    lose their spaces in sentencepiece vocabularies.

    Args:
        model: the model; its tokenizer must be a fast one.
        prompt: contains the subject.
        subject: as it stands in the prompt.
        delimiter: between prompt and answer.
        answer: what follows.

    Raises:
        DataError: the subject is empty or not in the prompt, or prompt and answer cannot be
            tokenised apart.
    """
    first, last = _place(prompt, subject)
    n_prompt = tokenise_answer(model, prompt, delimiter, answer).n_prompt
    encoded: Any = model.tokenizer(
        prompt + delimiter + answer,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        truncation=False,
        verbose=False,
    )
    tokens = zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
    inside = [
        index
        for index, ((start, end), special) in enumerate(tokens)
        if not special and start < last and end > max(first, start)
    ]
    if not inside or inside[-1] >= n_prompt:
        raise DataError(
            f"Expected the subject in tokens in front of the answer; {subject!r} has "
            f"{'none' if not inside else 'one in the answer'} in {prompt!r}. Give another prompt."
        )
    return inside[0], inside[-1] + 1


def _place(prompt: str, subject: str) -> Span:
    """The characters [start, end) of the subject's last place in the prompt."""
    if not subject.strip():
        raise DataError(
            f"Expected a subject with characters in it; got {subject!r} for the prompt "
            f"{prompt!r}. Write the subject as it stands in the prompt."
        )
    subject = subject.strip()
    words = re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt)
    starts = [match.start() for match in words] or [prompt.rfind(subject)]
    if starts[-1] < 0:
        raise DataError(
            f"Expected a prompt that contains its subject; {subject!r} is not in {prompt!r}. "
            "Write the subject as it stands in the prompt, in the same case."
        )
    return starts[-1], starts[-1] + len(subject)
