"""How likely given continuations are, token by token, after prompts that were read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.evaluate.reading import PAD_ID, Reading
from brodmann.models.batches import right_padded

LOGIT_ELEMENTS = 2**26
"""Logits held at a time (B k V): longer answers are read in parts."""


@dataclass(frozen=True)
class Likelihood:
    """How likely one continuation is.

    Attributes:
        logprob: log-probability of all its tokens, nats.
        margin: log P(token) - log P(most likely other token), mean over its tokens, nats.
    """

    logprob: float
    margin: float


@torch.no_grad()
def continuation_likelihoods(
    reading: Reading, logits: Float[Tensor, "B V"], answers: Sequence[Sequence[int]]
) -> list[Likelihood]:
    """Score one continuation of each text, teacher-forced; the reading is left as it is.

    Args:
        reading: the prompts.
        logits: the logits behind each prompt [B, V].
        answers: token ids of each continuation, one at least.
    """
    padded = right_padded(answers, PAD_ID, logits.device)
    logprobs, margins = [], []
    for start, part in logits_in_parts(reading, logits, padded.input_ids, padded.attention_mask):
        targets = padded.input_ids[:, start : start + part.shape[1]]
        of_tokens = _token_scores(part, targets)
        logprobs.append(of_tokens[0])
        margins.append(of_tokens[1])
    mask = padded.attention_mask.bool()
    logprob = torch.cat(logprobs, -1).double().masked_fill(~mask, 0.0).sum(-1)
    margin = torch.cat(margins, -1).double().masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)
    return [Likelihood(*pair) for pair in zip(logprob.tolist(), margin.tolist(), strict=True)]


def choice_likelihoods(
    reading: Reading, logits: Float[Tensor, "B V"], choices: Sequence[Sequence[Sequence[int]]]
) -> list[list[Likelihood]]:
    """Score every option of each text; texts may have unequal numbers of options.

    Options of one token cost nothing: the logits behind the prompt tell. Longer ones are read
    on from the prompts' keys and values, one option of each text at a time.
    """
    scored: list[list[Likelihood]] = [[] for _ in choices]
    for slot in range(max(len(options) for options in choices)):
        answers = [options[min(slot, len(options) - 1)] for options in choices]
        for row, likelihood in enumerate(continuation_likelihoods(reading, logits, answers)):
            if slot < len(choices[row]):
                scored[row].append(likelihood)
    return scored


def logits_in_parts(
    reading: Reading, logits: Tensor, ids: Tensor, mask: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first column, logits [B, k, V] that predict k columns of ``ids``), left to right."""
    yield 0, logits[:, None]
    ahead = reading.fork()
    columns = max(1, LOGIT_ELEMENTS // logits.numel())
    last = ids.shape[1] - 1  # nothing follows the last token
    for start in range(0, last, columns):
        part = slice(start, min(start + columns, last))
        yield start + 1, ahead.extend(ids[:, part], mask[:, part])


def _token_scores(
    logits: Float[Tensor, "B k V"], targets: Int[Tensor, "B k"]
) -> tuple[Float[Tensor, "B k"], Float[Tensor, "B k"]]:
    """Return log P(target) and the margin over the most likely other token."""
    gold = logits.gather(-1, targets[..., None])[..., 0]
    best, where = logits.topk(2, dim=-1)
    other = torch.where(where[..., 0] == targets, best[..., 1], best[..., 0])
    return gold - logits.logsumexp(-1), gold - other
