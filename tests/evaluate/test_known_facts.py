"""Which facts a model knows, against one unpadded pass for each."""

import pytest
import torch

from brodmann.data import Fact, rewritten
from brodmann.errors import DataError, InputError
from brodmann.evaluate import greedy_writer, known_facts
from brodmann.models.load import wrap_model
from brodmann.models.tokens import tokenise_answer
from tests.tiny import TINY_FAMILIES, planted_model
from tests.tiny.opened import opened

FACTS = [
    Fact(id="a", subject="Ombra", relation="P1", prompt="Ombra ends in the", answer="sea"),
    Fact(id="b", subject="7", relation="", prompt="of 7 =", answer="12", delimiter=""),
    Fact(id="c", subject="a lake", relation="P2", prompt="there was a lake of", answer="ice"),
]


@torch.no_grad()
def reference(model, fact):
    """(known, P, rank of the first token, tokens), one sequence at a time."""
    answer = tokenise_answer(model, fact.prompt, fact.delimiter, fact.answer)
    logits = model.hf(input_ids=torch.tensor([answer.ids])).logits[0].double()
    probability, known, first_rank = 1.0, True, 0
    for place, token in enumerate(answer.answer_ids):
        here = logits[answer.n_prompt - 1 + place]
        order = here.argsort(descending=True).tolist()
        rank = order.index(token) + 1
        first_rank = first_rank or rank
        known = known and rank == 1
        probability *= float(here.softmax(-1)[token])
    return known, probability, first_rank, len(answer.answer_ids)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_the_reference_in_padded_batches(family):
    model = opened(family)
    found = known_facts(model, FACTS, batch_size=3)
    for fact, row in zip(FACTS, found.rows, strict=True):
        known, probability, rank, tokens = reference(model, fact)
        assert row["probability"] == pytest.approx(probability, rel=1e-4)
        assert (row["known"], row["rank"], row["tokens"]) == (known, rank, tokens)
        assert (row["fact"], row["answer"]) == (fact.id, fact.answer)
    assert found.known == [f for f, row in zip(FACTS, found.rows, strict=True) if row["known"]]


def test_a_planted_answer_is_known_and_another_is_not():
    planted = planted_model()
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    facts = [
        Fact(id=prompt + answer, subject=prompt[:-1], relation="", prompt=prompt, answer=answer,
             delimiter="")
        for prompt, _, right in planted.examples[:4]
        for answer in (right, "k", right + "k")
    ]  # fmt: skip
    known, rows = known_facts(model, facts)
    assert [fact.answer for fact in known] == ["7"] * 4
    assert [row["rank"] == 1 for row in rows] == [True, False, True] * 4
    assert all(row["said"] == "7" for row in rows)
    assert all(row["probability"] > 0.5 for row in rows if row["known"])
    with pytest.raises(DataError, match="got none"):
        known_facts(model, [])


def test_a_model_writes_behind_prompts(tmp_path):
    model = opened("llama")
    write = greedy_writer(model, max_new_tokens=5)
    prompts = ["a sea", "there was a lake", "7"]
    together = write(prompts)
    assert together == [write([prompt])[0] for prompt in prompts]
    ids = model.tokenizer("a sea", return_tensors="pt")["input_ids"]
    out = model.hf.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False
    )
    expected = model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert together[0] == expected
    facts, notes = rewritten(FACTS[:1], write, saved=tmp_path / "w.jsonl", ask="{subject} {prompt}")
    assert notes[0].output == write(["Ombra Ombra ends in the"])[0]
    assert facts[0].prompts[0] == FACTS[0].prompt
    with pytest.raises(InputError, match="leave room for 5 tokens"):
        write(["a" * 1000])
    with pytest.raises(InputError, match="1 or more"):
        greedy_writer(model, max_new_tokens=0)
