"""`Fact`: one piece of individual knowledge, as prompts of one meaning and their answer."""

from dataclasses import dataclass

from brodmann.data.example import Example
from brodmann.errors import DataError

_UNSPACED = "\u2e80"
"""From here on scripts are mostly written without spaces between words."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A subject, a relation and an answer, asked for in one or several ways.

    The model reads prompt + delimiter + answer. Every prompt holds the subject, because tracing
    and editing act at its tokens, and ends where the answer begins.

    Attributes:
        id: the fact's name; no two facts of a study share one.
        subject: what the fact is about, letter for letter as in the prompts.
        relation: what is asked of the subject, such as ``"P36"``; may be empty.
        prompt: the text in front of the answer.
        answer: the true continuation, without leading white space.
        paraphrases: other prompts of the same meaning, for the same answer.
        delimiter: the text between a prompt and the answer.
        target_new: a false answer, which an edit should write; None where the data name none.
        neighbours: (prompt, answer) of other subjects, which an edit must leave as they are.

    Raises:
        DataError: a subject that is not in a prompt, an empty text, an answer that stands at the
            start or at the end of a prompt already, or a prompt that is there twice.
    """

    id: str
    subject: str
    relation: str
    prompt: str
    answer: str
    paraphrases: tuple[str, ...] = ()
    delimiter: str = " "
    target_new: str | None = None
    neighbours: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("id", "subject", "prompt", "answer"):
            _check_filled(getattr(self, name), name, self.id)
        _check_answer(self.answer, "answer", self.id)
        if self.target_new is not None:
            _check_filled(self.target_new, "target_new", self.id)
            _check_answer(self.target_new, "target_new", self.id)
            if self.target_new == self.answer:
                raise DataError(
                    f"Expected a target_new that differs from the answer of fact {self.id}; both "
                    f"are '{self.answer}'."
                )
        for number, prompt in enumerate(self.prompts):
            _check_prompt(self, prompt, f"paraphrase {number}" if number else "prompt")
        if len(set(self.prompts)) < len(self.prompts):
            raise DataError(
                f"Expected paraphrases of fact {self.id} that differ from its prompt and from "
                "each other; one is there twice. Leave it out."
            )
        for prompt, answer in self.neighbours:
            _check_filled(prompt, "prompt of a neighbour", self.id)
            _check_filled(answer, "answer of a neighbour", self.id)
            _check_answer(answer, "answer of a neighbour", self.id)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt and its paraphrases, in this order."""
        return (self.prompt, *self.paraphrases)

    def examples(self) -> list[Example]:
        """One example per prompt; ``meta["fact"]`` holds the fact's id, which groups them."""
        meta = {
            "scorer": "text",
            "fact": self.id,
            "subject": self.subject,
            "relation": self.relation,
        }
        return [Example(prompt, self.answer, self.delimiter, (), meta) for prompt in self.prompts]


def starts_with_words(text: str, words: str) -> bool:
    """Whether ``words`` are the first words of ``text``; "French" does not start "Frenchmen"."""
    return text.startswith(words) and not _joined(words[-1], text[len(words) : len(words) + 1])


def ends_with_words(text: str, words: str) -> bool:
    """Whether ``words`` are the last words of ``text``."""
    start = len(text) - len(words)
    return text.endswith(words) and not _joined(text[max(start - 1, 0) : start], words[0])


def _joined(left: str, right: str) -> bool:
    """Whether two characters side by side belong to one word."""
    return all(side.isalnum() and side < _UNSPACED for side in (left, right))


def _check_filled(text: str, name: str, fact: str) -> None:
    if not text.strip():
        raise DataError(f"Expected text as the {name} of fact {fact or '(no id)'}; got none.")


def _check_answer(answer: str, name: str, fact: str) -> None:
    if answer[0].isspace():
        raise DataError(
            f"Expected the {name} of fact {fact} without white space in front; got '{answer}'. "
            "Put the space into the delimiter."
        )


def _check_prompt(fact: Fact, prompt: str, name: str) -> None:
    what = f"{name} of fact {fact.id}"
    _check_filled(prompt, name, fact.id)
    if fact.subject not in prompt:
        raise DataError(f"Expected the subject '{fact.subject}' in the {what}; got '{prompt}'.")
    if starts_with_words(prompt, fact.answer):
        raise DataError(
            f"Expected an answer that is not a prefix of the {what}; '{prompt}' begins with "
            f"'{fact.answer}'. Ask in other words, or leave the fact out."
        )
    if ends_with_words(prompt, fact.answer):
        raise DataError(
            f"Expected the {what} to end where the answer begins; '{prompt}' ends with "
            f"'{fact.answer}' already. Cut the answer off."
        )
    if prompt[-1].isspace() and fact.delimiter[:1].isspace():
        raise DataError(
            f"Expected the {what} without white space at its end, as the delimiter brings it; got "
            f"'{prompt}'. Cut it off, or write an empty delimiter."
        )
