"""An expression as a question: direct generation, multiple choice, true or false."""

from dataclasses import dataclass
from functools import lru_cache

from brodmann.data.arithmetic.distractors import distractors
from brodmann.data.arithmetic.expressions import Expression
from brodmann.data.arithmetic.templates import (
    LETTERS,
    TEMPLATES,
    Language,
    TaskName,
    Template,
    Wording,
)
from brodmann.data.split import keyed_random


@dataclass(frozen=True, slots=True)
class Item:
    """A question about one expression: the model reads prompt + delimiter + answer."""

    prompt: str
    delimiter: str
    answer: str

    @property
    def solved(self) -> str:
        """The question with its answer, as it stands in front of another question."""
        return self.prompt + self.delimiter + self.answer


@dataclass(frozen=True)
class Style:
    """How expressions become questions.

    Attributes:
        task: the kind of question.
        lang: its language.
        template: the paper's words, or plain ones.
        negative: whether wrong results may be negative.
        seed: decides the wrong results and the balanced order of the right options.
    """

    task: TaskName
    lang: Language
    template: Wording
    negative: bool
    seed: int

    @property
    def words(self) -> Template:
        """The template."""
        return TEMPLATES[self.template, self.lang, self.task]

    @property
    def choices(self) -> tuple[str, ...]:
        """The possible answers; none for direct generation."""
        return self.words.choices

    def item(self, expression: Expression, turn: int, key: str) -> Item:
        """Ask about ``expression``.

        Args:
            expression: what to ask about.
            turn: the number of this question in its series. Among each ``len(choices)``
                questions in a row, each choice is the right one once.
            key: names the series, and with ``turn`` decides the wrong results.
        """
        if self.task == "dg":
            return self._filled(str(expression.value), expression)
        right = balanced(turn, len(self.choices), f"{self.seed}/{self.task}/{key}")
        rng = keyed_random(self.seed, "wrong", self.task, key, turn, expression)
        if self.task == "mq":
            options = distractors(expression, len(LETTERS) - 1, rng, self.negative)
            options.insert(right, expression.value)
            return self._filled(LETTERS[right], expression, **_lettered(options))
        wrong = distractors(expression, 1, rng, self.negative)[0]
        shown = expression.value if right == 0 else wrong
        return self._filled(self.choices[right], expression, shown=shown)

    def _filled(self, answer: str, expression: Expression, **words: int) -> Item:
        prompt = self.words.prompt.format(expression=expression, **words)
        return Item(prompt, self.words.delimiter, answer)


def balanced(turn: int, n: int, key: str) -> int:
    """Return a number below ``n``; each ``n`` turns in a row bring each number once."""
    block, place = divmod(turn, n)
    return _permutation(key, block, n)[place]


@lru_cache(maxsize=4096)
def _permutation(key: str, block: int, n: int) -> list[int]:
    return keyed_random("balanced", key, block, n).sample(range(n), n)


def _lettered(options: list[int]) -> dict[str, int]:
    return dict(zip(LETTERS, options, strict=True))
