"""A tokenizer that reads any text: one token for each byte of UTF-8, and nothing in front."""

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

PAD, END = "<pad>", "<eos>"
VOCABULARY = 258
"""Two special tokens and the bytes."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a new tokenizer; the tokens of one character all have the character's offsets."""
    tokens = (PAD, END, *sorted(pre_tokenizers.ByteLevel.alphabet()))
    backend = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([PAD, END])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
