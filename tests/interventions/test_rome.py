import pytest
import torch

from brodmann.data.facts import Fact
from brodmann.errors import DataError, InputError, MismatchError, ModelError
from brodmann.interventions import (
    KeyCovariance,
    RomeEdit,
    bake_edit,
    fact_edited,
    key_covariances,
    rome_edit,
    rome_edits,
    sampled_prefixes,
)
from brodmann.interventions.editable import down_weight
from brodmann.models.load import load_model
from brodmann.models.subject_tokens import subject_span
from brodmann.models.tokens import tokenise_answer
from tests.reference import rome as reference
from tests.tiny import MOE_FAMILIES, TINY_FAMILIES
from tests.tiny.opened import opened

DENSE = [name for name in TINY_FAMILIES if name not in MOE_FAMILIES]
FACT = Fact(
    id="tower", subject="the tower", relation="height", prompt="the tower is", answer="15"
)  # fmt: skip
TEXTS = ["the sum of 12 and 30 is 42", "a tower is tall", "is it 7? No 8 Yes", "an apple = 3"] * 3
PREFIXES = ("", "an ant. ", "12 + 3 is it. ")
LAYER = 1
QUICK = {"steps": 4, "lr": 0.1, "prefixes": PREFIXES}


def covariance(model, layer=LAYER):
    return key_covariances(model, TEXTS, [layer], cache=False)[layer]


def edit_of(model, target="7", **settings):
    return rome_edit(model, FACT, target, LAYER, covariance(model), **(QUICK | settings))


@torch.no_grad()
def logits(model, text="the tower is 7"):
    ids = model.tokenizer(text, return_tensors="pt").input_ids
    return model.hf(input_ids=ids, use_cache=False).logits[0]


@pytest.mark.filterwarnings("ignore:C of layer")
@pytest.mark.parametrize("family", DENSE)
def test_an_edit_writes_the_value_at_the_key_and_nothing_across_its_direction(family):
    model = opened(family)
    edit = edit_of(model)
    before, bias = reference.dense(model.hf, LAYER)
    with fact_edited(model, edit):
        after, _ = reference.dense(model.hf, LAYER)
    torch.testing.assert_close(after @ edit.key + bias, edit.value, rtol=1e-4, atol=1e-4)
    across = torch.randn(20, len(edit.key), generator=torch.Generator().manual_seed(0))
    unit = edit.direction / edit.direction.norm()
    across = across - (across @ unit)[:, None] * unit
    torch.testing.assert_close(across @ after.T, across @ before.T, rtol=1e-4, atol=1e-4)
    assert (after - before).norm() > 1e-2
    assert edit.provenance["error"] < 1e-5
    assert edit.losses[-1] < edit.losses[0]


@pytest.mark.filterwarnings("ignore:C of layer")
@pytest.mark.parametrize("family", ["llama_bias", "gpt2", "gemma2", "granite", "falcon", "mpt"])
def test_key_value_and_weight_equal_the_slow_way(family):
    model = opened(family, torch.float64)
    known = covariance(model)
    edit = rome_edit(model, FACT, "12 Yes", LAYER, known, **QUICK)
    prompts, keys = [], []
    for prefix in PREFIXES:
        answer = tokenise_answer(model, prefix + FACT.prompt, " ", "12 Yes")
        at = subject_span(model, prefix + FACT.prompt, FACT.subject, " ", "12 Yes")[1] - 1
        keys.append(reference.inputs(model.hf, LAYER, list(answer.ids))[at])
        # What stands behind the last predicting token counts for nothing.
        prompts.append((list(answer.ids), at, len(answer.answer_ids)))
    essence = list(tokenise_answer(model, "the tower is a", " ", "thing").prompt_ids)
    at = subject_span(model, "the tower is a", FACT.subject, " ", "thing")[1] - 1
    weight, bias = reference.dense(model.hf, LAYER)
    key = torch.stack(keys).mean(0)
    value = weight @ key + bias
    shift, losses = reference.search(
        model.hf, LAYER, prompts, (essence, at), value,
        steps=4, lr=0.1, kl=0.0625, weight_decay=0.5, clamp=4.0,
    )  # fmt: skip
    # Families that compute norms in float32 agree to its rounding, which Adam's first steps
    # (the sign of a gradient) hardly enlarge.
    torch.testing.assert_close(edit.key, key, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(edit.losses), torch.tensor(losses), rtol=1e-4, atol=0)
    torch.testing.assert_close(edit.shift, shift, rtol=1e-3, atol=1e-3)
    moment = known.moment.double()
    moment += known.shrinkage * moment.diagonal().mean() * torch.eye(len(moment))
    expected = reference.edited(weight, bias, edit.key, edit.value, moment)
    with fact_edited(model, edit):
        after, _ = reference.dense(model.hf, LAYER)
    torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "opt"])
@pytest.mark.filterwarnings("ignore:C of layer")
def test_weights_come_back_bit_for_bit_and_blocks_add_up(family, tmp_path):
    model = opened(family)
    first, second = edit_of(model), edit_of(model, target="Yes")
    weight = down_weight(model.sites[LAYER])
    before, plain = weight.detach().clone(), logits(model)
    with pytest.raises(ZeroDivisionError), fact_edited(model, first), fact_edited(model, second):
        both = reference.dense(model.hf, LAYER)[0]
        raise ZeroDivisionError
    assert torch.equal(weight, before)
    assert torch.equal(logits(model), plain)
    change = sum(torch.outer(edit.shift, edit.direction) for edit in (first, second))
    torch.testing.assert_close(both, reference.dense(model.hf, LAYER)[0] + change)
    with fact_edited(model, first):
        inside = logits(model)
        once = weight.detach().clone()
        with fact_edited(model, second):
            pass
        assert torch.equal(weight, once)
    assert not torch.allclose(inside, plain, atol=1e-3)
    bake_edit(model, first, tmp_path)
    assert torch.equal(weight, before)
    baked = load_model(tmp_path, dtype="float32", device="cpu")
    torch.testing.assert_close(logits(baked), inside, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:C of layer")
def test_a_longer_search_finds_more_and_a_clamp_holds_the_shift():
    model = opened("llama")
    free = {"steps": 30, "lr": 0.5, "weight_decay": 0.0, "clamp": 40.0}
    edit, held = edit_of(model, **free), edit_of(model, **(free | {"clamp": 0.5}))
    length = held.shift.norm() / (held.value - held.shift).norm()
    assert length <= 0.5001 < edit.shift.norm() / (edit.value - edit.shift).norm()
    assert edit.losses[-1] < held.losses[-1] < held.losses[0]


@pytest.mark.filterwarnings("ignore:C of layer")
def test_half_precision_says_what_rounding_leaves_of_the_value():
    model = opened("llama", torch.bfloat16)
    edit = edit_of(model)
    assert edit.key.dtype == edit.shift.dtype == torch.float32
    with fact_edited(model, edit):
        after = reference.dense(model.hf, LAYER)[0]
        assert after.dtype == torch.bfloat16
    off = (after.float() @ edit.key - edit.value).norm() / edit.value.norm()
    assert edit.provenance["error"] == pytest.approx(float(off), rel=1e-3)
    assert 1e-4 < edit.provenance["error"] < 0.02


@pytest.mark.filterwarnings("ignore:C of layer")
def test_an_edit_is_saved_and_read_back_and_refused_by_other_models(tmp_path):
    model, other = opened("llama"), opened("llama", seed=1)
    edit = edit_of(model)
    edit.save(tmp_path)
    again = RomeEdit.load(tmp_path)
    for name in ("key", "direction", "value", "shift"):
        assert torch.equal(getattr(again, name), getattr(edit, name))
    assert (again.layer, again.losses) == (edit.layer, edit.losses)
    assert again.provenance["prefixes"] == list(PREFIXES)
    with (
        pytest.raises(MismatchError, match="Expected an edit of tiny-llama"),
        fact_edited(other, again),
    ):
        pass
    with fact_edited(other, again, force=True):
        pass
    wider = opened("mpt")
    with pytest.raises(MismatchError, match="that fits"), fact_edited(wider, again, force=True):
        pass
    with pytest.raises(InputError, match="Expected a safetensors file"):
        RomeEdit.load(tmp_path / "nothing")


def test_prefixes_are_the_models_own_and_follow_the_seed():
    model, other = opened("llama"), opened("llama", seed=1)
    found = sampled_prefixes(model, seed=3)
    assert found[0] == ""
    assert len(set(found)) == len(found) == 5
    assert all(text.startswith("In the") and text.endswith(". ") for text in found[1:])
    assert found == sampled_prefixes(model, seed=3)
    assert found != sampled_prefixes(model, seed=4)
    assert found != sampled_prefixes(other, seed=3)
    assert sampled_prefixes(model, 0) == ("",)
    assert len(sampled_prefixes(model, 20, seed=3)) > 5
    with pytest.raises(InputError, match="prefixes of 0 or more; got -1"):
        sampled_prefixes(model, -1)


@pytest.mark.filterwarnings("ignore:C of layer")
def test_facts_are_edited_in_turn_each_from_the_clean_model():
    model = opened("llama")
    facts = [
        Fact(id=name, subject=name, relation="", prompt=f"{name} is", answer="15", target_new="7")
        for name in ("an apple", "the tower")
    ]
    known = covariance(model)
    found = list(rome_edits(model, facts, LAYER, known, steps=3))
    alone = rome_edit(
        model, facts[1], "7", LAYER, known, steps=3, prefixes=sampled_prefixes(model)
    )  # fmt: skip
    assert torch.equal(found[1].shift, alone.shift)
    assert [edit.provenance["fact"] for edit in found] == ["an apple", "the tower"]
    with pytest.raises(InputError, match="target_new in fact 'tower'"):
        next(rome_edits(model, [FACT], LAYER, known, steps=3))


@pytest.mark.filterwarnings("ignore:C of layer")
def test_bad_input_is_one_line():
    model = opened("llama")
    known = covariance(model)

    def refused(error, text, *, fact=FACT, target="7", layer=LAYER, known=known, **settings):
        with pytest.raises(error, match=text) as raised:
            rome_edit(model, fact, target, layer, known, **settings)
        assert "\n" not in str(raised.value)

    refused(InputError, "a target with characters in it", target=" ")
    refused(InputError, "differs from the answer", target="15")
    refused(InputError, "a layer from 0 to 2 of 'tiny-llama'; got 3", layer=3)
    refused(InputError, "steps of 1 or more", steps=0)
    refused(InputError, "lr of 0 or more", lr=float("nan"))
    refused(InputError, "prefix without the subject", prefixes=["the tower. "])
    refused(MismatchError, "covariances of layer 2; got those of layer 1", layer=2)
    other = covariance(opened("llama", seed=1))
    refused(MismatchError, "Expected key covariances of tiny-llama", known=other)
    with pytest.raises(DataError, match="the subject 'a bridge'"):
        Fact(id="x", subject="a bridge", relation="", prompt="the tower is", answer="7")
    with torch.no_grad():
        model.sites[2].down.weight.fill_(torch.nan)
    refused(ModelError, "Expected finite probabilities to draw prefixes from")
    refused(ModelError, "Expected finite probabilities of the target", prefixes=PREFIXES)


def test_mixtures_of_experts_are_refused_and_their_dense_layers_are_not():
    model = opened("qwen3_moe")
    with pytest.raises(ModelError, match="layer 0 of 'tiny-qwen3_moe' is a mixture of experts"):
        key_covariances(model, TEXTS, [0], cache=False)
    with pytest.warns(UserWarning, match="C of layer 1"):
        edit = edit_of(model)
    before = logits(model)
    with fact_edited(model, edit):
        assert not torch.equal(logits(model), before)
    known = KeyCovariance(0, torch.eye(64), 100, {"fingerprint": model.fingerprint})
    with pytest.raises(ModelError, match="mixture of experts"):
        rome_edit(model, FACT, "7", 0, known)
