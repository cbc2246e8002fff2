"""Greedy generation after prompts that were read once; each text ends as soon as it may."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from brodmann.evaluate.reading import Reading
from brodmann.models.language_model import LanguageModel

Complete = Callable[[str], bool]


@torch.no_grad()
def generate(
    reading: Reading,
    logits: Float[Tensor, "B V"],
    *,
    max_new_tokens: Sequence[int],
    complete: Sequence[Complete],
) -> list[list[int]]:
    """Continue each text with its most likely token, again and again.

    Plain greedy decoding: penalties and sampling in the model's generation config do not apply.
    A text ends at an end-of-text token (not returned), when its text is complete, or when it has
    its number of tokens. The batch shrinks when half of its texts have ended. The reading is
    used up.

    Args:
        reading: the prompts.
        logits: the logits behind each prompt [B, V].
        max_new_tokens: the most tokens of each text, one or more.
        complete: for each text, whether the continuation so far is enough.

    Returns:
        The new token ids of each text.
    """
    stops = end_of_text_ids(reading.model)
    tokenizer = reading.model.tokenizer
    outputs: list[list[int]] = [[] for _ in complete]
    rows = list(range(len(outputs)))  # which text each row of the reading is
    going = set(rows)
    while True:
        chosen = logits.argmax(-1)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if row not in going:
                continue
            if token not in stops:
                outputs[row].append(token)
            full = len(outputs[row]) >= max_new_tokens[row]
            if token in stops or full or complete[row](decode(tokenizer, outputs[row])):
                going.discard(row)
        if not going:
            return outputs
        if 2 * len(going) <= len(rows):
            kept = [place for place, row in enumerate(rows) if row in going]
            reading.keep(torch.tensor(kept))
            chosen, rows = chosen[kept], [rows[place] for place in kept]
        logits = reading.extend(chosen[:, None])[:, -1]


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Return the text of new tokens, without special tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def end_of_text_ids(model: LanguageModel) -> frozenset[int]:
    """Return the tokens that end a text, by the generation config and by the tokenizer."""
    config = getattr(model.hf, "generation_config", None)
    given = getattr(config, "eos_token_id", None)
    listed = given if isinstance(given, list | tuple) else [given]
    return frozenset(
        token for token in (*listed, model.tokenizer.eos_token_id) if isinstance(token, int)
    )
