"""Which facts a model knows by itself: no claim about knowledge may rest on the others."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data.facts import Fact
from brodmann.errors import DataError
from brodmann.evaluate.generation import decode
from brodmann.evaluate.likelihood import logits_in_parts
from brodmann.evaluate.reading import PAD_ID, plan_reading, read
from brodmann.models.batches import right_padded
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import TokenisedAnswer, tokenise_answers
from brodmann.progress import progress as progress_bar


class KnownFacts(NamedTuple):
    """Which facts a model knows.

    Attributes:
        known: the facts that it answers by itself, in their order.
        rows: one report for each fact that was asked: ``fact`` (the id), ``subject``,
            ``relation``, ``prompt``, ``answer``, ``known``, ``probability`` (of the whole
            answer), ``rank`` (of the answer's first token; 1 is the most likely token of all),
            ``tokens`` (of the answer), ``said`` (the most likely first token).
    """

    known: list[Fact]
    rows: list[dict[str, Any]]


def known_facts(
    model: LanguageModel,
    facts: Sequence[Fact],
    *,
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> KnownFacts:
    """Ask each fact at its prompt, and keep those that the model answers right.

    A fact is known when every token of its answer is the most likely one behind the prompt and
    the answer so far: greedy decoding would write just this answer. Paraphrases are not asked.

    Args:
        model: the model.
        facts: what to ask.
        batch_size: facts of a batch, or ``"auto"``.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Raises:
        DataError: no facts, or one whose prompt and answer do not tokenise apart.
    """
    if not facts:
        raise DataError("Expected facts to ask the model; got none.")
    texts = [(fact.prompt, fact.delimiter, fact.answer) for fact in facts]
    asked = tokenise_answers(model, texts)
    prompts = [answer.prompt_ids for answer in asked]
    plan = plan_reading(model, prompts, [len(answer.ids) for answer in asked], batch_size)
    rows: list[dict[str, Any]] = [{} for _ in facts]
    for batch in progress_bar(plan, label="Asking facts", shown=progress):
        answered = _answered(model, [asked[index] for index in batch])
        for index, found in zip(batch, answered, strict=True):
            rows[index] = _described(facts[index]) | found
    return KnownFacts([fact for fact, row in zip(facts, rows, strict=True) if row["known"]], rows)


def _described(fact: Fact) -> dict[str, Any]:
    return {
        "fact": fact.id,
        "subject": fact.subject,
        "relation": fact.relation,
        "prompt": fact.prompt,
        "answer": fact.answer,
    }


@torch.no_grad()
def _answered(model: LanguageModel, batch: Sequence[TokenisedAnswer]) -> list[dict[str, Any]]:
    reading, logits = read(model, [answer.prompt_ids for answer in batch])
    said = logits.argmax(-1).tolist()
    answers = right_padded([answer.answer_ids for answer in batch], PAD_ID, logits.device)
    parts = [
        _of_tokens(part, answers.input_ids[:, start : start + part.shape[1]])
        for start, part in logits_in_parts(
            reading, logits, answers.input_ids, answers.attention_mask
        )
    ]
    logprobs, ranks = (torch.cat(columns, dim=1) for columns in zip(*parts, strict=True))
    padding = answers.attention_mask == 0
    return [
        {
            "known": bool((rank[~hidden] == 1).all()),
            "probability": float(logprob[~hidden].sum().exp()),
            "rank": int(rank[0]),
            "tokens": int((~hidden).sum()),
            "said": decode(model.tokenizer, [first]).strip(),
        }
        for logprob, rank, hidden, first in zip(logprobs, ranks, padding, said, strict=True)
    ]


def _of_tokens(
    logits: Float[Tensor, "B k V"], targets: Int[Tensor, "B k"]
) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"]]:
    """Log-probability and rank of each target; equal logits share the better rank."""
    gold = logits.gather(-1, targets[..., None])
    ranks = (logits > gold).sum(-1) + 1
    return (gold[..., 0] - logits.logsumexp(-1)).double(), ranks
