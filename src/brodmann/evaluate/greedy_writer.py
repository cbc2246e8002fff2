"""`greedy_writer`: a model as a function from prompts to what it writes behind them."""

from collections.abc import Callable, Sequence

from brodmann.errors import InputError
from brodmann.evaluate.generation import decode, generate
from brodmann.evaluate.reading import plan_reading, read
from brodmann.models.language_model import LanguageModel


def greedy_writer(
    model: LanguageModel, *, max_new_tokens: int = 160
) -> Callable[[Sequence[str]], list[str]]:
    """Return a function that lets the model continue prompts with its most likely tokens.

    It fits :func:`brodmann.data.rewritten`, which lets a model write paraphrases of facts.

    Args:
        model: the model.
        max_new_tokens: the most tokens to write behind a prompt.

    Raises:
        InputError: when ``max_new_tokens`` is not positive, or later a prompt leaves no room for
            them in the model's context.
    """
    if max_new_tokens < 1:
        raise InputError(f"Expected max_new_tokens of 1 or more; got {max_new_tokens}.")

    def write(prompts: Sequence[str]) -> list[str]:
        ids = [_ids(model, prompt) for prompt in prompts]
        lengths = [len(prompt) + max_new_tokens for prompt in ids]
        if model.max_tokens is not None and max(lengths, default=0) > model.max_tokens:
            raise InputError(
                f"Expected prompts that leave room for {max_new_tokens} tokens in "
                f"{model.max_tokens}, the context of {model.name}; the longest has "
                f"{max(lengths) - max_new_tokens}. Ask for fewer tokens."
            )
        written = [""] * len(ids)
        for batch in plan_reading(model, ids, lengths, "auto"):
            reading, logits = read(model, [ids[index] for index in batch])
            outputs = generate(
                reading,
                logits,
                max_new_tokens=[max_new_tokens] * len(batch),
                complete=[lambda text: False] * len(batch),
            )
            for index, output in zip(batch, outputs, strict=True):
                written[index] = decode(model.tokenizer, output)
        return written

    return write


def _ids(model: LanguageModel, prompt: str) -> tuple[int, ...]:
    """The prompt's tokens, without the special ones that some tokenizers put behind it."""
    encoded = model.tokenizer(prompt, return_special_tokens_mask=True)
    ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    while ids and special[len(ids) - 1]:
        ids.pop()
    return tuple(ids)
