"""Where the answer begins, in tokens: prompt, delimiter and answer are tokenised as one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from brodmann.errors import DataError, InputError
from brodmann.models.language_model import LanguageModel

Span = tuple[int, int]

_SPACES = "Ġ▁Ċĉ \t\n"  # how byte-level and sentencepiece vocabularies spell white space


@dataclass(frozen=True, slots=True)
class TokenisedAnswer:
    """The tokens of prompt + delimiter + answer.

    Attributes:
        ids: all token ids; special tokens as the tokenizer puts them in front, none at the end.
        n_prompt: how many of them come before the answer; the last of these predicts the
            answer's first token.
    """

    ids: tuple[int, ...]
    n_prompt: int

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The tokens that the answer is predicted from."""
        return self.ids[: self.n_prompt]

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """The answer's tokens; the first may contain the delimiter."""
        return self.ids[self.n_prompt :]


def tokenise_answer(
    model: LanguageModel,
    prompt: str,
    delimiter: str,
    answer: str,
    chat_template: str = "off",
) -> TokenisedAnswer:
    """Tokenise one question with its answer; see :func:`tokenise_answers`."""
    return tokenise_answers(model, [(prompt, delimiter, answer)], chat_template)[0]


def tokenise_answers(
    model: LanguageModel,
    texts: Sequence[tuple[str, str, str]],
    chat_template: str = "off",
) -> list[TokenisedAnswer]:
    """Tokenise questions with their answers, all in one call of the tokenizer.

    The answer's tokens are those of prompt + delimiter + answer that end behind the answer's
    first character's start. The first of them may contain the delimiter, never a character of the
    prompt. Nothing is ever truncated, and the answer is never tokenised alone.

    Args:
        model: the model; its tokenizer must be a fast one, which knows each token's place.
        texts: (prompt, delimiter, answer) of each question.
        chat_template: "auto" renders the prompt as the user's turn with the tokenizer's own chat
            template, and the answer opens the assistant's turn, without a delimiter; the special
            tokens are then the template's alone. A tokenizer without a template, and "off", take
            the texts as they are.

    Raises:
        DataError: when an answer is empty, shares a token with its prompt, has no token in front
            of it, or does not fit into the model's context; when the tokenizer is a slow one.
        InputError: when ``chat_template`` is neither "auto" nor "off".
    """
    tokenizer: PreTrainedTokenizerBase = model.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(
            f"Expected a fast tokenizer, which knows where its tokens lie in the text; "
            f"{type(tokenizer).__name__} does not. Load the model with its tokenizer.json."
        )
    if not texts:
        return []
    chat = _uses_chat(tokenizer, chat_template)
    fronts = [_front(tokenizer, text, chat) for text in texts]
    encoded: Any = tokenizer(
        [front + delimiter + answer for front, delimiter, answer in fronts],
        add_special_tokens=not chat,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        padding=False,
        truncation=False,
        verbose=False,
    )
    columns = (encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"])
    return [
        _split(model, front, _without_tail(*row))
        for front, *row in zip(fronts, *columns, strict=True)
    ]


def _uses_chat(tokenizer: PreTrainedTokenizerBase, chat_template: str) -> bool:
    if chat_template not in ("auto", "off"):
        raise InputError(f"Expected chat_template 'auto' or 'off'; got '{chat_template}'.")
    return chat_template == "auto" and bool(getattr(tokenizer, "chat_template", None))


def _front(
    tokenizer: PreTrainedTokenizerBase, text: tuple[str, str, str], chat: bool
) -> tuple[str, str, str]:
    """Return what stands in front of the delimiter, the delimiter and the answer."""
    prompt, _, answer = text
    if not answer.strip():
        raise DataError(
            f"Expected an answer with characters in it; got {answer!r} for the prompt "
            f"{_end(prompt)}. Leave the example out or give its answer."
        )
    if not chat:
        return text
    turn = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    return str(rendered), "", answer


def _without_tail(
    ids: list[int], spans: list[Span], special: list[int]
) -> tuple[list[int], list[Span]]:
    """Drop the special tokens that the tokenizer puts behind the text."""
    n = len(ids)
    while n and special[n - 1]:
        n -= 1
    return ids[:n], spans[:n]


def _split(
    model: LanguageModel, text: tuple[str, str, str], tokens: tuple[list[int], list[Span]]
) -> TokenisedAnswer:
    front, delimiter, answer = text
    ids, spans = tokens
    start = len(front) + len(delimiter)
    n_prompt = next((i for i, (_, end) in enumerate(spans) if end > start), len(ids))
    if n_prompt == len(ids):
        raise DataError(f"Expected an answer that the tokenizer can write; got {answer!r}.")
    if n_prompt == 0:
        raise DataError(
            f"Expected at least one token in front of the answer {answer!r}; the prompt "
            f"{front!r} has none. Give a prompt or a delimiter."
        )
    if _start_of(model.tokenizer, "".join(text), tokens, n_prompt) < len(front):
        piece = (front + delimiter + answer)[slice(*spans[n_prompt])]
        raise DataError(
            f"Expected prompt and answer in tokens of their own; the prompt {_end(front)} and the "
            f"answer {_start(answer)} share the token {piece!r}. Put a space or newline between "
            "them: set delimiter (and end the prompt without one)."
        )
    if model.max_tokens is not None and len(ids) > model.max_tokens:
        raise DataError(
            f"Expected at most {model.max_tokens} tokens (the context of {model.name}); prompt "
            f"and answer {_start(answer)} have {len(ids)}. Shorten them; nothing is cut off."
        )
    return TokenisedAnswer(tuple(ids), n_prompt)


def _start_of(
    tokenizer: PreTrainedTokenizerBase, text: str, tokens: tuple[list[int], list[Span]], at: int
) -> int:
    """Return where token ``at`` starts, the white space in front that it contains included.

    Some tokenizers trim the offsets of " 7" to the "7"; then the token tells what was trimmed.
    """
    ids, spans = tokens
    start, end = spans[at]
    token = str(tokenizer.convert_ids_to_tokens(ids[at]))
    shown = len(text[start:end]) - len(text[start:end].lstrip())
    trimmed = max(0, len(token) - len(token.lstrip(_SPACES)) - shown)
    previous_end = spans[at - 1][1] if at else 0
    while trimmed and start > previous_end and text[start - 1].isspace():
        start, trimmed = start - 1, trimmed - 1
    return start


def _end(text: str) -> str:
    return repr(text if len(text) <= 24 else "..." + text[-21:])


def _start(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:21] + "...")
