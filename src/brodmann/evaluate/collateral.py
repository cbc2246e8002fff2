"""Collateral damage: what an intervention does to the reading of neutral text."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import DataError
from brodmann.models.batches import PaddedBatch, plan_batches, right_padded
from brodmann.models.language_model import LanguageModel

WINDOW = 512
"""Tokens that are read together; longer texts are cut into windows."""

CHUNK_ELEMENTS = 2**26
"""Logits of a batch (tokens times vocabulary)."""

KEPT_ELEMENTS = 2**28
"""Up to so many unedited log-probabilities are kept in full precision, more in float16."""


@dataclass(frozen=True)
class Collateral:
    """What an intervention does to neutral text.

    Attributes:
        perplexity_before: of the unedited model.
        perplexity_after: of the edited model.
        kl: KL(unedited || edited) of the next-token distribution, mean over tokens, nats.
        n_tokens: predicted tokens.
    """

    perplexity_before: float
    perplexity_after: float
    kl: float
    n_tokens: int

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers in JSON types."""
        return asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class Neutral:
    """Neutral text as the unedited model reads it, to compare any number of edits with.

    Attributes:
        batches: the windows of text, padded behind.
        log_probs: for each batch, log-probabilities behind each token but the last of its window
            [P, V].
        perplexity: of the unedited model.
        n_tokens: predicted tokens.
    """

    batches: Sequence[PaddedBatch]
    log_probs: Sequence[Float[Tensor, "_ V"]]
    perplexity: float
    n_tokens: int


def collateral(
    model: LanguageModel,
    intervention: Callable[[], AbstractContextManager[Any]],
    texts: Sequence[str] | Neutral,
) -> Collateral:
    """Measure perplexity and KL on neutral text, with and without an intervention.

    Args:
        model: the model.
        intervention: makes the context in which the model is edited:
            ``lambda: erased(model, neurons)``.
        texts: the text; or, for many interventions, :func:`read_neutral` of it, which saves
            reading it unedited again.

    Raises:
        DataError: when no text has two tokens.
    """
    neutral = texts if isinstance(texts, Neutral) else read_neutral(model, texts)
    loss = divergence = 0.0
    with intervention():
        passes = zip(neutral.batches, neutral.log_probs, strict=True)
        for (batch, before), after in zip(passes, _log_probs(model, neutral.batches), strict=True):
            before = before.to(after.dtype)
            loss -= _of_targets(after, batch).sum().item()
            divergence += (before.exp() * (before - after)).sum(dtype=torch.float64).item()
    return Collateral(
        perplexity_before=neutral.perplexity,
        perplexity_after=_exp(loss / neutral.n_tokens),
        kl=divergence / neutral.n_tokens,
        n_tokens=neutral.n_tokens,
    )


def read_neutral(model: LanguageModel, texts: Sequence[str]) -> Neutral:
    """Read neutral text with the model as it is now, and keep every log-probability.

    They take tokens times vocabulary numbers on the model's device: float32 up to a GiB (float64
    for float64 models), and float16 beyond, which blurs the KL by about 0.001.

    Raises:
        DataError: when no text has two tokens.
    """
    vocabulary = int(model.hf.config.get_text_config().vocab_size)
    windows = _windows(model, texts)
    lengths = [len(window) for window in windows]
    plan = plan_batches(lengths, "auto", max(64, CHUNK_ELEMENTS // vocabulary))
    batches = [right_padded([windows[i] for i in part], 0, model.device) for part in plan]
    n_tokens = sum(lengths) - len(lengths)
    small = n_tokens * vocabulary <= KEPT_ELEMENTS
    kept, loss = [], 0.0
    for batch, log_probs in zip(batches, _log_probs(model, batches), strict=True):
        loss -= _of_targets(log_probs, batch).sum().item()
        kept.append(log_probs if small else log_probs.half())
    return Neutral(batches, kept, _exp(loss / n_tokens), n_tokens)


def _windows(model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Tokenise the texts and cut them; each window starts as the tokenizer starts a text (BOS)."""
    front = list(model.tokenizer("", verbose=False)["input_ids"])
    if front and front[-1] == model.tokenizer.eos_token_id:
        front.pop()
    longest = min(WINDOW, model.max_tokens or WINDOW) - len(front)
    windows = []
    for text in texts:
        ids = list(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        windows += [front + ids[start : start + longest] for start in range(0, len(ids), longest)]
    windows = [window for window in windows if len(window) > 1]
    if not windows:
        raise DataError(f"Expected neutral text of two tokens or more; got {len(texts)} text(s).")
    return windows


def _log_probs(
    model: LanguageModel, batches: Sequence[PaddedBatch]
) -> Iterator[Float[Tensor, "_ V"]]:
    """Yield each batch's log-probabilities behind every token that has one after it."""
    for batch in batches:
        with torch.no_grad():
            logits = model.hf(**batch.inputs_for(model.hf), use_cache=False).logits
        logits = logits[:, :-1][_followed(batch).to(logits.device)]
        wide = logits if logits.dtype == torch.float64 else logits.float()
        yield wide.log_softmax(-1)


def _followed(batch: PaddedBatch) -> Tensor:
    return batch.attention_mask[:, 1:].bool()


def _of_targets(log_probs: Float[Tensor, "P V"], batch: PaddedBatch) -> Float[Tensor, "P"]:
    """Return the log-probability of each token that was to be predicted."""
    targets: Int[Tensor, "P"] = batch.input_ids[:, 1:][_followed(batch)].to(log_probs.device)
    return log_probs.gather(-1, targets[:, None])[:, 0].double()


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
