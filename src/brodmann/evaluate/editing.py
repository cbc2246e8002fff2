"""What an edit of a fact does: efficacy, paraphrases, neighbours, and their margins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from brodmann.data.facts import Fact
from brodmann.errors import InputError, ModelError
from brodmann.interventions.edited_facts import fact_edited
from brodmann.interventions.rome import RomeEdit
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import logits_from_normed
from brodmann.models.tokens import TokenisedAnswer, tokenise_answers

KINDS = ("efficacy", "paraphrase", "neighbourhood")


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """How likely one answer is behind its prompt, teacher-forced.

    Attributes:
        logprob: of all its tokens, nats.
        n_tokens: how many.
        greedy: whether each of them is the most likely one in its place.
    """

    logprob: float
    n_tokens: int
    greedy: bool


@dataclass(frozen=True, slots=True)
class _Question:
    """One prompt with what an edit should make of it, and the rival."""

    kind: str
    prompt: str
    wanted: str
    rival: str


def edit_scores(model: LanguageModel, fact: Fact, target: str, edit: RomeEdit) -> dict[str, Any]:
    """Score one edit, before and after it, in one row.

    Three kinds of prompts: the fact's own (efficacy), its paraphrases, and the neighbours'. On
    the first two the target should win over the true answer; on a neighbour its own answer should
    win over the target. For each kind the row holds, after the edit and (``_before``) before it:

    - ``KIND``: share of prompts where the answer that should win is the likelier of the two,
      by the probability of the whole answer;
    - ``KIND_greedy``: share where it is what the model writes: each of its tokens is the most
      likely one in its place;
    - ``KIND_margin``: log P(target) - log P(true answer), mean over prompts, nats, and
      ``KIND_margin_per_token``, the same of mean log-probabilities per token, which answers of
      unequal length need (the peer, ROME, decides by these). A neighbour's margin should stay
      below 0.

    All answers are teacher-forced on all of their tokens. A kind without prompts is None. The
    model is as before afterwards.

    Args:
        model: the model, unedited.
        fact: what was edited.
        target: the new answer.
        edit: the edit.

    Raises:
        InputError: an empty target, or the true answer.
        MismatchError: the edit is of another model.
        DataError: a prompt and an answer that do not tokenise apart.
        ModelError: probabilities that are not finite.
    """
    if not target.strip() or target.strip() == fact.answer.strip():
        raise InputError(
            f"Expected a target that is not empty and differs from the answer '{fact.answer}' of "
            f"fact '{fact.id}'; got {target!r}."
        )
    questions = _questions(fact, target)
    before = _scores(model, questions, fact.delimiter)
    with fact_edited(model, edit):
        after = _scores(model, questions, fact.delimiter)
    row: dict[str, Any] = {
        "fact": fact.id, "subject": fact.subject, "relation": fact.relation,
        "answer": fact.answer, "target": target, "layer": edit.layer,
    }  # fmt: skip
    for kind in KINDS:
        row |= _summary(kind, questions, after, "") | _summary(kind, questions, before, "_before")
    return row


@torch.no_grad()
def answer_scores(model: LanguageModel, texts: Sequence[tuple[str, str, str]]) -> list[AnswerScore]:
    """Score (prompt, delimiter, answer) of each text, in batches; logits of answers alone.

    Raises:
        DataError: a prompt and an answer that do not tokenise apart.
        ModelError: probabilities that are not finite.
    """
    answers = tokenise_answers(model, texts)
    scores: dict[int, AnswerScore] = {}
    lengths = [len(answer.ids) - 1 for answer in answers]
    for batch in plan_batches(lengths, "auto", token_budget(model.hf)):
        found = _batch_scores(model, [answers[index] for index in batch])
        scores |= dict(zip(batch, found, strict=True))
    return [scores[index] for index in range(len(answers))]


def _batch_scores(model: LanguageModel, answers: Sequence[TokenisedAnswer]) -> list[AnswerScore]:
    padded = right_padded([answer.ids[:-1] for answer in answers], model.pad_id, model.device)
    # Attention looks back only: what stands behind a text cannot reach it.
    output = model.decoder(input_ids=padded.input_ids, use_cache=False).last_hidden_state
    scores = []
    for row, answer in enumerate(answers):
        positions = slice(answer.n_prompt - 1, len(answer.ids) - 1)
        logits = logits_from_normed(model, output[row, positions]).to(model.score_dtype)
        wanted = torch.tensor(answer.answer_ids, device=logits.device)
        logprob = logits.log_softmax(-1).gather(1, wanted[:, None]).double().sum()
        if not logprob.isfinite():
            raise ModelError(
                "Expected finite probabilities of answers; the model gives NaN or infinity. Check "
                "its weights, or load it in float32 or bfloat16."
            )
        greedy = bool((logits.argmax(-1) == wanted).all())
        scores.append(AnswerScore(float(logprob), len(wanted), greedy))
    return scores


def _questions(fact: Fact, target: str) -> list[_Question]:
    asked = [_Question("efficacy", fact.prompt, target, fact.answer)]
    asked += [_Question("paraphrase", text, target, fact.answer) for text in fact.paraphrases]
    return asked + [
        _Question("neighbourhood", prompt, answer, target)
        for prompt, answer in fact.neighbours
        if answer != target
    ]


def _scores(
    model: LanguageModel, questions: Sequence[_Question], delimiter: str
) -> list[tuple[AnswerScore, AnswerScore]]:
    """What should win, and its rival, of each question."""
    texts = [(q.prompt, delimiter, text) for q in questions for text in (q.wanted, q.rival)]
    found = answer_scores(model, texts)
    return list(zip(found[::2], found[1::2], strict=True))


def _summary(
    kind: str,
    questions: Sequence[_Question],
    scores: Sequence[tuple[AnswerScore, AnswerScore]],
    when: str,
) -> dict[str, float | None]:
    here = [pair for question, pair in zip(questions, scores, strict=True) if question.kind == kind]
    sign = -1 if kind == "neighbourhood" else 1  # there the target is the rival

    def mean(values: list[float] | list[bool]) -> float | None:
        return sum(values) / len(values) if values else None

    return {
        f"{kind}{when}": mean([wins.logprob > rival.logprob for wins, rival in here]),
        f"{kind}_greedy{when}": mean([wins.greedy for wins, _ in here]),
        f"{kind}_margin{when}": mean([sign * (a.logprob - b.logprob) for a, b in here]),
        f"{kind}_margin_per_token{when}": mean([
            sign * (a.logprob / a.n_tokens - b.logprob / b.n_tokens) for a, b in here
        ]),
    }  # fmt: skip
