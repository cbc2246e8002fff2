from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from brodmann.errors import DataError, InputError
from brodmann.models.load import load_model
from brodmann.models.tokens import tokenise_answer, tokenise_answers
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def llama():
    return load_model(*tiny_model("llama"))


def with_tokenizer(model, tokenizer):
    return replace(model, tokenizer=tokenizer)


def sentencepiece_like(pieces, prepend="first"):
    """A Llama-2-like tokenizer: white space is part of the pieces, unknown letters are bytes."""
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    vocabulary += [(piece, -10.0) for piece in byte_pieces]
    vocabulary += [(piece, -float(1 + i)) for i, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def gemma_like(pieces):
    """Spaces become a letter before BPE sees them, as in Gemma's tokenizer."""
    alphabet = sorted({letter for piece in pieces for letter in piece})
    merges, seen = [], set(alphabet)
    for piece in pieces:
        for end in range(2, len(piece) + 1):
            if piece[:end] not in seen:
                merges.append((piece[: end - 1], piece[end - 1]))
                seen.add(piece[:end])
    names = ["<bos>", "<unk>", *alphabet, *("".join(pair) for pair in merges)]
    model = models.BPE({name: i for i, name in enumerate(names)}, merges, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>")


def pieces(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(list(ids))


def test_characters(llama):
    text = tokenise_answer(llama, "1+2=", " ", "12")
    assert pieces(llama.tokenizer, text.prompt_ids) == ["<s>", "1", "+", "2", "=", " "]
    assert pieces(llama.tokenizer, text.answer_ids) == ["1", "2"]
    assert text.ids == text.prompt_ids + text.answer_ids and text.n_prompt == 6


def test_the_first_token_may_hold_the_delimiter(llama):
    model = with_tokenizer(llama, tiny_tokenizer("bytes"))
    text = tokenise_answer(model, "1+2=", " ", "12")
    assert pieces(model.tokenizer, text.answer_ids) == ["Ġ12"]
    assert tokenise_answer(model, "1+2=", "", "12").n_prompt == 4


@pytest.mark.parametrize("prompt", ["a 1", "a "])
def test_a_shared_token_is_refused(llama, prompt):
    model = with_tokenizer(llama, tiny_tokenizer("bytes"))
    with pytest.raises(DataError) as error:
        tokenise_answer(model, prompt, "", "2")
    message = str(error.value)
    assert repr(prompt) in message and "set delimiter" in message and "\n" not in message


def test_trimmed_offsets_do_not_hide_a_shared_token(llama):
    tokenizer = tiny_tokenizer("bytes")
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    model = with_tokenizer(llama, tokenizer)
    with pytest.raises(DataError, match="share the token"):
        tokenise_answer(model, "a ", "", "12")
    text = tokenise_answer(model, "a", " ", "12")
    assert pieces(tokenizer, text.answer_ids) == ["Ġ12"]
    text = tokenise_answer(model, "a", "  ", "12")
    assert pieces(tokenizer, text.ids) == ["a", "Ġ", "Ġ12"] and text.n_prompt == 2


def test_one_character_in_several_tokens(llama):
    model = with_tokenizer(llama, tiny_tokenizer("bytes"))
    text = tokenise_answer(model, "答", "", "是一")
    assert text.n_prompt == 3 and len(text.answer_ids) == 6
    assert model.tokenizer.decode(text.answer_ids) == "是一"
    assert len(tokenise_answer(model, "答案：", "\n", "🙂").answer_ids) == 4


@pytest.mark.parametrize("prepend", ["first", "always", "never"])
def test_sentencepiece_like(llama, prepend):
    tokenizer = sentencepiece_like(["▁", "a", "b", "=", "1", "2", "▁12", "▁a"], prepend)
    model = with_tokenizer(llama, tokenizer)
    text = tokenise_answer(model, "a b=", " ", "12")
    assert pieces(tokenizer, text.answer_ids) == ["▁12"]
    assert text.ids[0] == tokenizer.bos_token_id
    assert pieces(tokenizer, tokenise_answer(model, "a b=", "", "12").answer_ids) == ["1", "2"]
    chinese = tokenise_answer(model, "a", " ", "是")
    assert pieces(tokenizer, chinese.answer_ids) == ["<0xE6>", "<0x98>", "<0xAF>"]
    with pytest.raises(DataError, match="share the token"):
        tokenise_answer(model, "b ", "", "12")


def test_gemma_like(llama):
    tokenizer = gemma_like(["▁12", "a", "=", "b"])
    model = with_tokenizer(llama, tokenizer)
    text = tokenise_answer(model, "a b=", " ", "12")
    assert pieces(tokenizer, text.answer_ids) == ["▁12"] and text.ids[0] == tokenizer.bos_token_id
    assert pieces(tokenizer, tokenise_answer(model, "a=", "", "12").answer_ids) == ["1", "2"]
    with pytest.raises(DataError, match="share the token"):
        tokenise_answer(model, "b ", "", "12")


def test_normalisers_that_change_the_length(llama):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    model = with_tokenizer(llama, tokenizer)
    text = tokenise_answer(model, "ﬁ＝", " ", "½")
    assert pieces(tokenizer, text.prompt_ids) == ["f", "i", "=", " "]
    assert len(text.answer_ids) == 3


def test_end_tokens_that_the_tokenizer_adds_are_dropped(llama):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    text = tokenise_answer(with_tokenizer(llama, tokenizer), "ab", " ", "7")
    assert pieces(tokenizer, text.ids) == ["<s>", "a", "b", " ", "7"]


def test_truncation_set_in_the_tokenizer_is_not_used(llama):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(3)
    assert len(tokenise_answer(with_tokenizer(llama, tokenizer), "abcdef", " ", "7").ids) == 8


CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def test_chat_template():
    hf, tokenizer = tiny_model("llama")
    model = load_model(hf, tokenizer)
    plain = tokenise_answer(model, "1+2=", " ", "3", "auto")
    assert plain == tokenise_answer(model, "1+2=", " ", "3", "off")
    tokenizer.chat_template = CHAT
    text = tokenise_answer(model, "1+2=", " ", "3", "auto")
    assert text.ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(text.prompt_ids) == "<s><|user|>1+2=\n<|assistant|>\n"
    assert tokenizer.decode(text.answer_ids) == "3"
    assert tokenise_answer(model, "1+2=", " ", "3", "off") == plain
    with pytest.raises(InputError, match="'auto' or 'off'; got 'on'"):
        tokenise_answer(model, "1+2=", " ", "3", "on")


@pytest.mark.parametrize("answer", ["", " ", "\n"])
def test_empty_answers(llama, answer):
    with pytest.raises(DataError, match="Expected an answer with characters"):
        tokenise_answer(llama, "1+2=", " ", answer)


def test_answers_that_the_tokenizer_drops(llama):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("7", "")
    with pytest.raises(DataError, match="that the tokenizer can write; got '7'"):
        tokenise_answer(with_tokenizer(llama, tokenizer), "a", " ", "7")


def test_nothing_in_front_of_the_answer(llama):
    assert tokenise_answer(llama, "", "", "7").n_prompt == 1  # the BOS
    with pytest.raises(DataError, match="at least one token in front"):
        tokenise_answer(with_tokenizer(llama, tiny_tokenizer()), "", "", "7")


def test_the_context(llama):
    fits = "a" * (llama.max_tokens - 2)
    assert len(tokenise_answer(llama, fits, "", "7").ids) == llama.max_tokens
    with pytest.raises(DataError, match=r"at most 256 tokens .* have 257"):
        tokenise_answer(llama, fits + "a", "", "7")


def test_slow_tokenizers(llama):
    class Slow(type(llama.tokenizer)):
        is_fast = False

    slow = tiny_tokenizer()
    slow.__class__ = Slow
    with pytest.raises(DataError, match="fast tokenizer"):
        tokenise_answer(with_tokenizer(llama, slow), "a", " ", "7")


PROMPTS = st.text("ab12=+ \n一是", min_size=1, max_size=12)
ANSWERS = st.text("ab12一是🙂", min_size=1, max_size=6)


@given(st.lists(st.tuples(PROMPTS, st.sampled_from([" ", "\n"]), ANSWERS), max_size=5))
@pytest.mark.parametrize("kind", ["chars", "bytes"])
def test_many_equal_one_by_one_and_nothing_is_lost(llama, kind, texts):
    model = with_tokenizer(llama, tiny_tokenizer(kind))
    try:
        many = tokenise_answers(model, texts)
    except DataError:
        return
    assert many == [tokenise_answer(model, *text) for text in texts]
    for (prompt, delimiter, answer), text in zip(texts, many, strict=True):
        whole = model.tokenizer(prompt + delimiter + answer)["input_ids"]
        assert list(text.ids) == whole
        if kind == "bytes":
            assert model.tokenizer.decode(text.ids) == prompt + delimiter + answer
            told = model.tokenizer.decode(text.answer_ids)
            assert told.removeprefix(delimiter) == answer
