import dataclasses

import pytest
import torch

from brodmann.data.facts import Fact
from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.evaluate.editing import answer_scores, edit_scores
from brodmann.interventions import fact_edited, key_covariances, rome_edit
from brodmann.models.tokens import tokenise_answer
from tests.tiny.opened import opened

FACT = Fact(
    id="tower", subject="the tower", relation="height", prompt="the tower is", answer="15",
    paraphrases=("tall: the tower,", "12 and the tower"), neighbours=(("an ant is", "3"),),
)  # fmt: skip
TEXTS = ["the sum of 12 and 30 is 42", "a tower is tall", "is it 7? No 8 Yes"] * 3
pytestmark = pytest.mark.filterwarnings("ignore:C of layer")


def edit_of(model, target="Yes"):
    covariance = key_covariances(model, TEXTS, [1], cache=False)[1]
    return rome_edit(model, FACT, target, 1, covariance, steps=6, prefixes=("", "12. "))


@torch.no_grad()
def slow(model, prompt, answer):
    """Log-probability of each answer token, and whether all are the most likely ones."""
    found = tokenise_answer(model, prompt, " ", answer)
    ids = torch.tensor([found.ids])
    logits = model.hf(input_ids=ids, use_cache=False).logits[0, found.n_prompt - 1 : -1]
    wanted = ids[0, found.n_prompt :]
    picked = logits.log_softmax(-1)[torch.arange(len(wanted)), wanted]
    return picked, bool((logits.argmax(-1) == wanted).all())


def slow_row(model, target):
    """kind -> [share that wins, share greedy, margin, margin per token]."""
    row = {}
    for kind, prompts, own in (
        ("efficacy", FACT.prompts[:1], None), ("paraphrase", FACT.prompts[1:], None),
        ("neighbourhood", [FACT.neighbours[0][0]], FACT.neighbours[0][1]),
    ):  # fmt: skip
        wins, greedy, margins, per_token = [], [], [], []
        for prompt in prompts:
            new, new_greedy = slow(model, prompt, target)
            true, true_greedy = slow(model, prompt, own or FACT.answer)
            margins.append(float(new.sum() - true.sum()))
            per_token.append(float(new.mean() - true.mean()))
            wins.append((margins[-1] < 0) if own else (margins[-1] > 0))
            greedy.append(true_greedy if own else new_greedy)
        row[kind] = [sum(part) / len(part) for part in (wins, greedy, margins, per_token)]
    return row


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "opt", "cohere"])
def test_a_row_equals_a_loop_over_single_answers(family):
    model = opened(family)
    edit = edit_of(model)
    expected = {"_before": slow_row(model, "Yes")}
    with fact_edited(model, edit):
        expected[""] = slow_row(model, "Yes")
    row = edit_scores(model, FACT, "Yes", edit)
    for when, kinds in expected.items():
        for kind, (wins, greedy, margin, per_token) in kinds.items():
            assert row[f"{kind}{when}"] == wins
            assert row[f"{kind}_greedy{when}"] == greedy
            assert row[f"{kind}_margin{when}"] == pytest.approx(margin, abs=1e-4)
            assert row[f"{kind}_margin_per_token{when}"] == pytest.approx(per_token, abs=1e-4)
    assert abs(row["efficacy_margin"] - row["efficacy_margin_before"]) > 0.01
    assert (row["fact"], row["target"], row["answer"], row["layer"]) == ("tower", "Yes", "15", 1)


def test_greedy_is_what_the_model_writes_and_kinds_without_prompts_are_none():
    model = opened("llama")
    ids = model.tokenizer("the tower is ", return_tensors="pt").input_ids
    with torch.no_grad():
        best = int(model.hf(input_ids=ids).logits[0, -1].argmax())
    letter = model.tokenizer.decode([best])
    found = answer_scores(model, [("the tower is", " ", letter), ("the tower is", " ", "15")])
    assert found[0].greedy
    assert not found[1].greedy
    assert (found[0].n_tokens, found[1].n_tokens) == (1, 2)
    alone = dataclasses.replace(FACT, paraphrases=(), neighbours=(("an ant is", "Yes"),))
    row = edit_scores(model, alone, "Yes", edit_of(model))
    assert row["paraphrase"] is None
    assert row["neighbourhood_margin_before"] is None  # its own answer is the target


def test_the_model_is_as_before_and_bad_input_is_one_line():
    model = opened("llama")
    edit = edit_of(model)
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    edit_scores(model, FACT, "Yes", edit)
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())
    for target in ("", "15"):
        with pytest.raises(InputError, match="a target that is not empty and differs"):
            edit_scores(model, FACT, target, edit)
    with pytest.raises(MismatchError, match="Expected an edit of tiny-llama"):
        edit_scores(opened("llama", seed=1), FACT, "Yes", edit)
    with torch.no_grad():
        model.sites[0].down.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="Expected finite probabilities of answers"):
        edit_scores(model, FACT, "Yes", edit)
