"""`Fact`: one piece of individual knowledge, as prompts of one meaning and their answer."""

from dataclasses import dataclass

from brodmann.data.example import Example
from brodmann.errors import DataError

_UNSPACED = "\u2e80"
"""From here on scripts are mostly written without spaces between words."""

FAULTS = {
    "empty prompt": "Expected text as the {where}; got none. Write one, or leave it out.",
    "subject not in the prompt": (
        "Expected the subject '{subject}' in the {where}; got {prompt!r}. Write the subject as it "
        "stands in the prompt, or leave this prompt out."
    ),
    "answer at the start of the prompt": (
        "Expected an answer that is not a prefix of the {where}; {prompt!r} begins with "
        "'{answer}'. Ask in other words, or leave the fact out."
    ),
    "answer at the end of the prompt": (
        "Expected the {where} to end where the answer begins; {prompt!r} ends with '{answer}' "
        "already. Cut the answer off."
    ),
    "white space at the end of the prompt": (
        "Expected the {where} without white space at its end, as the delimiter brings it; got "
        "{prompt!r}. Cut it off, or write an empty delimiter."
    ),
}
"""What can be wrong with a prompt, and what is said about it."""


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
        for name in ("id", "subject", "answer", "target_new"):
            text = getattr(self, name)
            if text is not None:
                _check_text(text, name, self.id)
        if self.target_new == self.answer:
            raise DataError(
                f"Expected a target_new that differs from the answer of fact {self.id}; both are "
                f"'{self.answer}'."
            )
        for number, prompt in enumerate(self.prompts):
            fault = prompt_fault(prompt, self.subject, self.answer, self.delimiter)
            if fault is not None:
                name = f"paraphrase {number}" if number else "prompt"
                raise DataError(_said(fault, self, prompt, f"{name} of fact {self.id}"))
        if len(set(self.prompts)) < len(self.prompts):
            raise DataError(
                f"Expected paraphrases of fact {self.id} that differ from its prompt and from "
                "each other; one is there twice. Leave it out."
            )
        for prompt, answer in self.neighbours:
            _check_text(answer, "answer of a neighbour", self.id)
            if not prompt.strip():
                raise DataError(
                    f"Expected a prompt for each neighbour of fact {self.id}; got none."
                )

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


def prompt_fault(prompt: str, subject: str, answer: str, delimiter: str = " ") -> str | None:
    """Why a prompt cannot ask for an answer about a subject: a key of ``FAULTS``, or None."""
    if not prompt.strip():
        return "empty prompt"
    if subject not in prompt:
        return "subject not in the prompt"
    if any(start == 0 for start in places_of_words(prompt, answer)):
        return "answer at the start of the prompt"
    if any(start + len(answer) == len(prompt) for start in places_of_words(prompt, answer)):
        return "answer at the end of the prompt"
    if prompt[-1].isspace() and delimiter[:1].isspace():
        return "white space at the end of the prompt"
    return None


def places_of_words(text: str, words: str) -> list[int]:
    """Where ``words`` stand in ``text`` as whole words: "French" is not in "Frenchmen"."""
    found = []
    start = text.find(words)
    while words and start >= 0:
        end = start + len(words)
        before, behind = text[max(start - 1, 0) : start], text[end : end + 1]
        if not _joined(before, words[0]) and not _joined(words[-1], behind):
            found.append(start)
        start = text.find(words, start + 1)
    return found


def _joined(left: str, right: str) -> bool:
    """Whether two characters side by side belong to one word."""
    return all(side.isalnum() and side < _UNSPACED for side in (left, right))


def _said(fault: str, fact: Fact, prompt: str, where: str) -> str:
    return FAULTS[fault].format(
        where=where, prompt=prompt, subject=fact.subject, answer=fact.answer
    )


def _check_text(text: str, name: str, fact: str) -> None:
    if not text.strip():
        raise DataError(f"Expected text as the {name} of fact {fact or '(no id)'}; got none.")
    if name != "subject" and text[0].isspace():
        raise DataError(
            f"Expected the {name} of fact {fact} without white space in front; got '{text}'. "
            "The delimiter holds the space."
        )
