"""`evaluate`: ask a model questions and score its answers (methods.md §11).

Each batch of prompts is read once. From its keys and values come the log-probability margin of
the gold answer, the likelihood of every option, and the greedy continuation.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from brodmann.data.example import Example
from brodmann.evaluate.code import CodeScorer, check_may_run
from brodmann.evaluate.evaluation import Evaluation
from brodmann.evaluate.generation import decode, generate
from brodmann.evaluate.likelihood import Likelihood, choice_likelihoods
from brodmann.evaluate.questions import Question, make_questions
from brodmann.evaluate.reading import plan_reading, read
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress as progress_bar

_KEPT_META = ("capability", "expression", "operators", "task", "lang")


def evaluate(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    scorer: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    max_new_tokens: int | None = None,
    chat_template: str = "off",
    allow_code_execution: bool = False,
    progress: bool | None = None,
) -> Evaluation:
    """Let a model answer examples, as it is or inside an intervention.

    Free answers ("integer", "number", "text") are generated greedily; closed questions ("choice":
    options, yes or no, labels) are answered by the option of largest log-probability, and a tie
    goes to a wrong option. Programs ("code") are generated, and judged by running their tests.
    Outputs are the same, up to rounding, whatever the batches.

    Args:
        model: the model.
        examples: what to ask.
        scorer: a name out of :data:`brodmann.evaluate.SCORERS`, or "auto": each example's own.
        batch_size: examples of a batch, or "auto".
        max_new_tokens: the most tokens to generate; by default as many as the gold answer (the
            longest option) has, and the scorer's room beyond.
        chat_template: "auto" asks in the tokenizer's chat form; see
            :func:`brodmann.models.tokens.tokenise_answers`.
        allow_code_execution: run programs that the model writes, each in a locked-down child
            process (:mod:`brodmann.evaluate.sandbox`). Examples of code need it.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Raises:
        InputError: when there are no examples, an argument is off, or programs would have to run
            and may not.
        DataError: when an example cannot be tokenised or scored; the message says which.
        RunError: when programs may run and cannot be locked down here.
    """
    questions = make_questions(model, examples, scorer, max_new_tokens, chat_template)
    programs = [asked.example for asked in questions if isinstance(asked.scorer, CodeScorer)]
    check_may_run(programs, allow_code_execution)
    lengths = [question.length for question in questions]
    plan = plan_reading(model, [question.prompt for question in questions], lengths, batch_size)
    rows: list[dict[str, Any]] = [{} for _ in questions]
    for batch in progress_bar(plan, label="Evaluating", shown=progress):
        answered = _answer(model, [questions[index] for index in batch])
        for index, row in zip(batch, answered, strict=True):
            rows[index] = {"index": index} | row
    settings = {"scorer": scorer, "chat_template": chat_template, "batches": plan}
    provenance = {"model": model.name, "fingerprint": model.fingerprint} | settings
    return Evaluation.from_rows(rows, provenance | {"quantisation": model.quantisation})


def _answer(model: LanguageModel, batch: Sequence[Question]) -> list[dict[str, Any]]:
    reading, logits = read(model, [question.prompt for question in batch])
    likelihoods = choice_likelihoods(
        reading, logits, [question.continuations for question in batch]
    )
    generated = generate(
        reading,
        logits,
        max_new_tokens=[question.max_new_tokens for question in batch],
        complete=[partial(asked.scorer.is_complete, asked.example) for asked in batch],
    )
    outputs = [decode(model.tokenizer, ids) for ids in generated]
    return [_row(*answered) for answered in zip(batch, outputs, likelihoods, strict=True)]


def _row(question: Question, output: str, likelihoods: list[Likelihood]) -> dict[str, Any]:
    """Score one answered question."""
    example, scorer = question.example, question.scorer
    judged = scorer.judge(example, output)
    row: dict[str, Any] = {
        "prompt": example.prompt,
        "answer": example.answer,
        "scorer": scorer.name,
        "output": output,
        "parsed": judged.parsed,
        "format_ok": judged.parsed is not None,
        "logprob": likelihoods[question.gold].logprob,
        "n_tokens": len(question.continuations[question.gold]),
        "chance": scorer.chance(example.choices),
    }
    if scorer.by_likelihood:
        row |= _closed(question, likelihoods, judged.parsed)
    else:
        row |= {"predicted": judged.parsed, "correct": judged.correct}
        row |= {"margin": likelihoods[0].margin}
    return row | {name: example.meta[name] for name in _KEPT_META if name in example.meta}


def _closed(
    question: Question, likelihoods: list[Likelihood], parsed: str | None
) -> dict[str, Any]:
    choices, gold = question.example.choices, question.gold
    logprobs = [likelihood.logprob for likelihood in likelihoods]
    per_character = [
        logprob / len(option) for logprob, option in zip(logprobs, choices, strict=True)
    ]
    predicted, normalised = _largest(logprobs, gold), _largest(per_character, gold)
    return {
        "choices": list(choices),
        "choice_logprobs": logprobs,
        "predicted": choices[predicted],
        "correct": predicted == gold,
        "margin": logprobs[gold] - max(v for i, v in enumerate(logprobs) if i != gold),
        "predicted_normalised": choices[normalised],
        "correct_normalised": normalised == gold,
        "generated_correct": parsed == choices[gold],
    }


def _largest(values: Sequence[float], gold: int) -> int:
    """Return the place of the largest value; a tie goes to a wrong option, the first of them."""
    wrong = max((i for i in range(len(values)) if i != gold), key=lambda i: values[i])
    return gold if values[gold] > values[wrong] else wrong
