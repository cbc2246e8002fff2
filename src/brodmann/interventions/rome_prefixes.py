"""Short beginnings that an edit should survive: sampled from the model itself."""

import torch
from transformers import DynamicCache

from brodmann.errors import InputError, ModelError
from brodmann.models.batches import accepts
from brodmann.models.language_model import LanguageModel

SHORT, LONG = 5, 10
"""Tokens of a sampled beginning, behind the words it starts with; half of them are long."""

BEGINNING = "In the"
"""Where the sampling starts; behind the peer's "The" alone small models write no sentences."""

MOST_LIKELY = 5
"""Tokens to draw from at each step, as the peer does."""


@torch.no_grad()
def sampled_prefixes(model: LanguageModel, n: int = 4, *, seed: int = 0) -> tuple[str, ...]:
    """Texts to put in front of a fact's prompt, the empty one first.

    Continuations of "In the", drawn from the five most likely tokens at each step, each ended by
    a full stop and a space. Half have 5 tokens and half have 10; the peer (ROME) draws ten of each,
    and keeps them for whatever model comes next, which is a known mistake: here they are drawn
    anew in each call. Give them to several edits to save the drawing.

    Args:
        model: the model, unedited.
        n: how many to draw beside the empty one; what is drawn twice is returned once.
        seed: decides the drawing.

    Raises:
        InputError: n below 0.
        ModelError: probabilities that are not finite.
    """
    if n < 0:
        raise InputError(f"Expected a number of prefixes of 0 or more; got {n}.")
    if n == 0:
        return ("",)
    lengths = [SHORT] * ((n + 1) // 2) + [LONG] * (n // 2)
    generator = torch.Generator().manual_seed(seed)
    start = list(model.tokenizer(BEGINNING, verbose=False)["input_ids"])
    if len(start) > 1 and start[-1] == model.tokenizer.eos_token_id:
        start.pop()
    rows = torch.tensor([start] * n, device=model.device)
    never = torch.tensor(sorted(model.tokenizer.all_special_ids), dtype=torch.long)
    cache = DynamicCache()
    new = rows
    for _ in range(max(lengths)):
        places = torch.arange(rows.shape[1] - new.shape[1], rows.shape[1], device=model.device)
        inputs = {"input_ids": new, "attention_mask": torch.ones_like(rows)}
        if accepts(model.hf, "position_ids"):
            inputs["position_ids"] = places.expand_as(new)
        logits = model.hf(**inputs, past_key_values=cache, use_cache=True).logits[:, -1]
        logits = logits.float().cpu().index_fill(1, never, -torch.inf)
        best, tokens = logits.topk(min(MOST_LIKELY, logits.shape[1] - len(never)))
        if not best.isfinite().all():
            raise ModelError(
                "Expected finite probabilities to draw prefixes from; the model gives NaN or "
                "infinity. Check its weights, or load it in float32 or bfloat16."
            )
        drawn = torch.multinomial(best.softmax(-1), 1, generator=generator)
        new = tokens.gather(1, drawn).to(rows)
        rows = torch.cat([rows, new], 1)
    texts = [
        str(model.tokenizer.decode(row[: len(start) + length], skip_special_tokens=True))
        for row, length in zip(rows.tolist(), lengths, strict=True)
    ]
    return ("", *dict.fromkeys(f"{text.strip()}. " for text in texts))
