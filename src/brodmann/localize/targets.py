"""Which tokens a method reads, at which positions it looks, and what these predict.

The neuron's token is the last token of the teacher-forced prefix x + y_<m; it predicts y_m.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from brodmann.data import Example
from brodmann.errors import DataError
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import TokenisedAnswer, tokenise_answers


@dataclass(frozen=True, slots=True)
class Reading:
    """One example as a method reads it.

    Attributes:
        ids: the tokens fed to the model.
        positions: where predictions are looked at, ascending.
        targets: the answer token predicted at each position.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...]


def readings(
    model: LanguageModel, examples: Sequence[Example], *, target: str, chat_template: str
) -> list[Reading]:
    """Tokenise examples for a method.

    Args:
        model: the model that reads.
        examples: what it reads; prompt + delimiter + answer.
        target: ``"first"`` reads the first answer token only; others read all of them.
        chat_template: ``"off"`` or ``"auto"``.

    Raises:
        DataError: no examples, or one that cannot be tokenised apart.
    """
    if not examples:
        raise DataError("Expected at least one example to locate neurons with; got none.")
    texts = [(example.prompt, example.delimiter, example.answer) for example in examples]
    tokenised = tokenise_answers(model, texts, chat_template=chat_template)
    return [_reading(answer, target) for answer in tokenised]


def _reading(answer: TokenisedAnswer, target: str) -> Reading:
    last = answer.n_prompt if target == "first" else len(answer.ids) - 1
    return Reading(
        ids=answer.ids[:last],
        positions=tuple(range(answer.n_prompt - 1, last)),
        targets=answer.ids[answer.n_prompt : last + 1],
    )
