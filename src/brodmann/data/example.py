"""`Example`: one question and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its answer. The model reads prompt + delimiter + answer.

    Attributes:
        prompt: the text in front of the answer.
        answer: the right continuation, without leading white space.
        delimiter: the text between prompt and answer.
        choices: the options when the answer is one of a closed list (the answer is among
            them), else empty.
        meta: what is known about the example (``scorer``, ``operators``, ``expression``, ...).
            ``meta["scorer"]`` names the scorer that evaluation uses by default.
    """

    prompt: str
    answer: str
    delimiter: str = " "
    choices: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
