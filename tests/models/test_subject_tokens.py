"""Subjects in tokens: by their place in the text, whatever the tokenizer does with spaces."""

from dataclasses import replace

import pytest

from brodmann.errors import DataError
from brodmann.models.language_model import LanguageModel
from brodmann.models.subject_tokens import subject_span
from brodmann.models.tokens import tokenise_answer
from tests.models.test_tokens import sentencepiece_like
from tests.tiny.families import TINY_FAMILIES
from tests.tiny.opened import opened


def tokens_in(model: LanguageModel, prompt: str, subject: str, answer: str = "x") -> list[str]:
    start, end = subject_span(model, prompt, subject, " ", answer)
    ids = tokenise_answer(model, prompt, " ", answer).ids
    return [str(t) for t in model.tokenizer.convert_ids_to_tokens(list(ids[start:end]))]


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_the_tokens_spell_the_subject_on_every_family(name):
    model = opened(name)
    spelt = "".join(tokens_in(model, "the home of abcd is in", "abcd"))
    assert spelt.replace("▁", "").replace("Ġ", "") == "abcd"


def test_a_subject_in_front_stands_behind_the_special_tokens():
    model = opened("llama")
    start, _ = subject_span(model, "abc is in", "abc", " ", "x")
    assert start == len(model.tokenizer("")["input_ids"]) == 1


def test_of_several_places_the_last_counts():
    model = opened("qwen2")
    assert tokens_in(model, "ab or ab is", "ab") == ["Ġa", "b"]
    assert subject_span(model, "ab or ab is", "ab", " ", "x") == (5, 7)


def test_a_word_of_its_own_comes_before_a_part_of_one():
    model = opened("qwen2")
    assert subject_span(model, "Ann went to Annapolis", "Ann", " ", "x") == (0, 3)
    assert subject_span(model, "Annapolis", "Ann", " ", "x") == (0, 3)


def test_real_vocabularies_keep_the_space_with_the_word(smollm2, gemma3):
    for model in (smollm2, gemma3):
        found = tokens_in(model, "The Space Needle is in downtown", "Space Needle", "Seattle")
        text = model.tokenizer.convert_tokens_to_string(found)
        assert text.strip() == "Space Needle"
        found = tokens_in(model, "Vinson Massif is located in the continent of", "Vinson Massif")
        assert model.tokenizer.convert_tokens_to_string(found).strip() == "Vinson Massif"


def test_a_token_shared_with_a_neighbour_belongs_to_the_subject(smollm2):
    tokens = tokens_in(smollm2, "They speak of internationalisation here", "national")
    assert "national" in smollm2.tokenizer.convert_tokens_to_string(tokens)


def test_characters_of_several_bytes(smollm2):
    tokens = tokens_in(smollm2, "The city of Zürich 東京 is in", "東京")
    assert smollm2.tokenizer.convert_tokens_to_string(tokens).strip() == "東京"


def test_pieces_whose_places_leave_out_their_space():
    pieces = ["▁the", "▁", "▁new", "new", "▁york", "york", "is", "▁is", "x", "▁x"]
    model = replace(opened("llama"), tokenizer=sentencepiece_like(pieces))
    assert tokens_in(model, "the new york is", "new york") == ["▁new", "▁york"]
    assert tokens_in(model, "new york is", "new york")[-1] == "▁york"


@pytest.mark.parametrize(
    ("prompt", "subject", "said"),
    [("the home of", "Paris", "'Paris' is not in 'the home of'"), ("the home", "  ", "'  '")],
)
def test_bad_subjects_are_refused_in_one_line(prompt, subject, said):
    with pytest.raises(DataError) as error:
        subject_span(opened("llama"), prompt, subject, " ", "x")
    assert said in str(error.value) and "\n" not in str(error.value)
