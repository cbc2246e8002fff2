"""`Question`: an example made ready for the model: token ids, scorer, room to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from brodmann.data.example import Example
from brodmann.errors import DataError, InputError
from brodmann.evaluate.scoring import SCORERS, Scorer, integer
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import TokenisedAnswer, tokenise_answers


@dataclass(frozen=True)
class Question:
    """What the model reads and what is asked of it.

    Attributes:
        example: the example as given.
        scorer: how its continuation is read.
        prompt: the tokens that all continuations share.
        continuations: the gold answer's tokens; of a closed question, each option's.
        gold: which of them is right.
        max_new_tokens: how many tokens may be generated.
    """

    example: Example
    scorer: Scorer
    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]
    gold: int
    max_new_tokens: int

    @property
    def length(self) -> int:
        """The most tokens that the model holds of it."""
        return len(self.prompt) + max(self.max_new_tokens, *map(len, self.continuations))


def make_questions(
    model: LanguageModel,
    examples: Sequence[Example],
    scorer: str = "auto",
    max_new_tokens: int | None = None,
    chat_template: str = "off",
) -> list[Question]:
    """Choose each example's scorer and tokenise it with its answer or options.

    The options of a closed question are tokenised in context, each behind the prompt. Should
    they not agree on the prompt's tokens (an option that swallows the delimiter beside one that
    does not), the prompt ends where they part, and the delimiter counts as theirs.

    Raises:
        DataError: when an example cannot be scored: no gold answer in the scorer's form, choices
            that lack the answer, prompt and answer that do not tokenise apart.
        InputError: when ``max_new_tokens`` is not positive.
    """
    if max_new_tokens is not None and max_new_tokens < 1:
        raise InputError(f"Expected max_new_tokens of 1 or more; got {max_new_tokens}.")
    scorers = [choose_scorer(example, scorer) for example in examples]
    options = [_options(*pair) for pair in zip(examples, scorers, strict=True)]
    tokenised = iter(
        tokenise_answers(
            model,
            [
                (example.prompt, example.delimiter, option)
                for example, of_example in zip(examples, options, strict=True)
                for option in of_example
            ],
            chat_template,
        )
    )
    return [
        _question(model, example, chosen, [next(tokenised) for _ in of_example], max_new_tokens)
        for example, chosen, of_example in zip(examples, scorers, options, strict=True)
    ]


def choose_scorer(example: Example, scorer: str = "auto") -> Scorer:
    """Return the scorer named, or under "auto" the one that the example asks for.

    An example without ``meta["scorer"]`` is scored by its choices if it has some, else as an
    integer if its answer is one, else as text.
    """
    if scorer != "auto":
        return SCORERS.get(scorer)
    if named := example.meta.get("scorer"):
        return SCORERS.get(str(named))
    if example.choices:
        return SCORERS.get("choice")
    answer = example.answer.strip()
    is_integer = answer.lstrip("+-−").replace(",", "").isdigit() and integer(answer) is not None
    return SCORERS.get("integer" if is_integer else "text")


def _options(example: Example, scorer: Scorer) -> tuple[str, ...]:
    if not scorer.by_likelihood:
        if scorer.parse(example.answer, ()) is None:
            raise DataError(
                f"Expected a gold answer for the scorer '{scorer.name}'; {example.answer!r} has "
                f"none. Name another scorer out of {', '.join(SCORERS.names())}."
            )
        return (example.answer,)
    choices = example.choices
    if len(choices) < 2 or len(set(choices)) < len(choices) or example.answer not in choices:
        raise DataError(
            f"Expected two or more different choices with the answer {example.answer!r} among "
            f"them; got {list(choices)}. Set choices, or name another scorer."
        )
    return choices


def _question(
    model: LanguageModel,
    example: Example,
    scorer: Scorer,
    tokenised: Sequence[TokenisedAnswer],
    max_new_tokens: int | None,
) -> Question:
    n_prompt = _shared(tokenised)
    if n_prompt == 0:
        raise DataError(
            f"Expected choices behind one and the same prompt; {list(example.choices)} change its "
            "first token. Set a delimiter."
        )
    continuations = tuple(option.ids[n_prompt:] for option in tokenised)
    room = max_new_tokens or max(map(len, continuations)) + scorer.room
    if model.max_tokens is not None:
        room = min(room, model.max_tokens - n_prompt)
    gold = example.choices.index(example.answer) if scorer.by_likelihood else 0
    return Question(example, scorer, tokenised[0].ids[:n_prompt], continuations, gold, room)


def _shared(tokenised: Sequence[TokenisedAnswer]) -> int:
    """Return how many tokens of the prompt all options have in common."""
    columns = zip(*(option.prompt_ids for option in tokenised), strict=False)
    same: Callable[[tuple[int, ...]], bool] = lambda column: len(set(column)) == 1  # noqa: E731
    return sum(1 for _ in takewhile(same, columns))
