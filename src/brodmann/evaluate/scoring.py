"""Scorers: what a continuation answers, as small functions on text, by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brodmann.data.example import Example
from brodmann.registry import Registry

Parse = Callable[[str, Sequence[str]], str | None]
Complete = Callable[[str], bool]

_MINUS = str.maketrans("−–－", "---")
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-+])?\$?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", re.UNICODE
)
_MAY_GO_ON = re.compile(r"(?:,\d{0,2}|\.)?")
_NEXT_QUESTION = re.compile(r"\n\s*(?:question|q|problem|问题|问)\s*[:：]", re.IGNORECASE)
_MARK = "####"
_OPENING_FENCE = re.compile(r"\A\s*```[\w+-]*\n+")
_CODE_END = re.compile(r"\n[ \t]*\n|```")


@dataclass(frozen=True)
class Judgement:
    """What became of a continuation.

    Attributes:
        parsed: the answer it gives in normal form; None when there is none.
        correct: whether it is right.
    """

    parsed: str | None
    correct: bool


@dataclass(frozen=True)
class Scorer:
    """How a continuation is read.

    Attributes:
        name: the scorer's name.
        parse: (continuation, choices) to the answer it gives in normal form, or None when there
            is none. An output is right when it parses to what the gold answer parses to.
        complete: whether the continuation so far settles the answer, so that generation ends.
        room: tokens that may be generated beyond as many as the gold answer has.
        by_likelihood: whether the answer is the most likely of the choices, and not the
            generated one.
    """

    name: str
    parse: Parse
    complete: Complete
    room: int
    by_likelihood: bool = False

    def chance(self, choices: Sequence[str]) -> float:
        """The accuracy of guessing: one in the number of choices; 0 for free answers."""
        return 1 / len(choices) if self.by_likelihood else 0.0

    def is_complete(self, example: Example, output: str) -> bool:
        """Tell whether the continuation so far settles the answer."""
        return self.complete(output)

    def judge(self, example: Example, output: str) -> Judgement:
        """Say what a continuation answers, and whether it is the gold answer."""
        parsed = self.parse(output, example.choices)
        return Judgement(parsed, parsed == self.parse(example.answer, ()))


SCORERS: Registry[Scorer] = Registry("scorer")
"""The scorers that ``meta["scorer"]`` and ``evaluate(scorer=...)`` may name."""


def integer(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the first integer in the text.

    Signs (the Unicode minus too) and thousands separators are understood. A decimal is not cut:
    "7.5" is no integer, "7.0" is 7. A minus right behind a digit or letter is a minus, no sign.
    """
    found = _NUMBER.search(text.translate(_MINUS))
    value = _decimal(found.group()) if found else None
    return str(int(value)) if value is not None and value == value.to_integral_value() else None


def integer_is_complete(text: str) -> bool:
    """Tell whether the first integer can no longer grow: something else stands behind it."""
    text = text.translate(_MINUS)
    found = _NUMBER.search(text)
    return found is not None and _is_closed(text[found.end() :])


def number(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the number behind ``####``, or else the last number of the text.

    "1,000" is 1000, "$18.00" is 18. A new question that the model asks itself ("Q:") ends the
    text.
    """
    text = _NEXT_QUESTION.split(text.translate(_MINUS), maxsplit=1)[0]
    if _MARK in text:
        found = _NUMBER.search(text.partition(_MARK)[2])
        return _normal(found.group()) if found else None
    numbers = _NUMBER.findall(text)
    return _normal(numbers[-1]) if numbers else None


def number_is_complete(text: str) -> bool:
    """Tell whether a number behind ``####`` has ended, or a new question has begun."""
    text = text.translate(_MINUS)
    if _NEXT_QUESTION.search(text):
        return True
    found = _NUMBER.search(tail := text.partition(_MARK)[2])
    return found is not None and _is_closed(tail[found.end() :])


def line(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the first line that is not blank, without outer white space and case-folded."""
    return next((part.strip().casefold() for part in text.splitlines() if part.strip()), None)


def line_is_complete(text: str) -> bool:
    """Tell whether a line that is not blank has ended."""
    return "\n" in text.lstrip()


def code_text(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the code up to a blank line or a closing fence, with single spaces as white space.

    An opening fence (three backticks, with a language or not) in front is skipped.
    """
    words = _code_block(text)[0].split()
    return " ".join(words) or None


def code_text_is_complete(text: str) -> bool:
    """Tell whether a blank line or a closing fence has ended the code."""
    return _code_block(text)[1]


def _code_block(text: str) -> tuple[str, bool]:
    """Return the first block of code, and whether it has ended."""
    block, *rest = _CODE_END.split(_OPENING_FENCE.sub("", text.lstrip("\n")), maxsplit=1)
    return block, bool(rest) and bool(block.strip())


def choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that the text begins with, whatever its case; the longest if several do.

    Quotes, brackets and asterisks in front are skipped. "Because" does not begin with "B".
    """
    text = text.lstrip(" \t\r\n\"'([{*`“‘（【").casefold()
    begun = [option for option in choices if _begins(text, option.strip().casefold())]
    return max(begun, key=len, default=None)


def _begins(text: str, option: str) -> bool:
    if not option or not text.startswith(option):
        return False
    around = text[len(option) - 1 : len(option) + 1]
    return not (len(around) == 2 and around.isascii() and around.isalnum())


def _never(text: str) -> bool:
    return False


def _is_closed(rest: str) -> bool:
    return not _MAY_GO_ON.fullmatch(rest)


def _decimal(written: str) -> Decimal:
    return Decimal(re.sub(r"[,$\s]", "", written))


def _normal(written: str) -> str:
    value = _decimal(written)
    if value == value.to_integral_value():
        return str(int(value))
    return str(value.normalize())


SCORERS.add("integer", Scorer("integer", integer, integer_is_complete, room=4))
SCORERS.add("number", Scorer("number", number, number_is_complete, room=256))
SCORERS.add("text", Scorer("text", line, line_is_complete, room=4))
SCORERS.add("code_text", Scorer("code_text", code_text, code_text_is_complete, room=16))
SCORERS.add("choice", Scorer("choice", choice, _never, room=0, by_likelihood=True))
