"""Tiny fast tokenizers, built in memory: characters, or bytes with a few merges."""

from functools import cache
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizerFast

UNKNOWN, BEGIN, END, PAD = "<unk>", "<s>", "</s>", "<pad>"
SPECIALS = (UNKNOWN, BEGIN, END, PAD)
ASCII = "\n" + "".join(chr(code) for code in range(32, 127))
CHINESE = "一二三四五六七八九十加减乘除等于多少是的问题答案对错正确选择，。？：×÷"
MERGES = [
    *[("1", digit) for digit in "0123456789"],
    *[("Ġ", digit) for digit in "0123456789"],
    *[("Ġ", f"1{digit}") for digit in "0123456789"],
    *[("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "s"), ("Ġ", "is"), ("e", "r"), ("a", "n")],
    *[("Ġ", "a"), ("Ġ", "="), ("Ġ", "Y"), ("e", "s"), ("ĠY", "es"), ("Ġ", "N"), ("ĠN", "o")],
]


def tiny_tokenizer(
    kind: Literal["chars", "bytes"] = "chars",
    *,
    bos: bool = False,
    padding_side: Literal["left", "right"] = "right",
    pad: bool = True,
) -> PreTrainedTokenizerFast:
    """A new tokenizer. ``chars``: one token per character. ``bytes``: as GPT-2's, few merges.

    Only ``bytes`` has tokens that hold a space and a digit (`` 7``), or two digits (``12``).
    """
    backend = Tokenizer.from_str(_character_level() if kind == "chars" else _byte_level())
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A",
            pair=f"{BEGIN} $A {BEGIN} $B",
            special_tokens=[(BEGIN, backend.token_to_id(BEGIN))],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN if bos else None,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD if pad else None,
        padding_side=padding_side,
        clean_up_tokenization_spaces=False,
    )


@cache
def _character_level() -> str:
    vocabulary = {token: i for i, token in enumerate((*SPECIALS, *ASCII, *CHINESE))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer.to_str()


@cache
def _byte_level() -> str:
    single = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = (*SPECIALS, *single, *("".join(pair) for pair in MERGES))
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer.to_str()
