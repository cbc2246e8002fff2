import pytest
import torch
from transformers import AutoModelForCausalLM

from brodmann.data import Example
from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.interventions import bake, erased, mean_ablated, reference_activations, scaled
from brodmann.models.activations import captured
from brodmann.models.load import load_model, wrap_model
from brodmann.models.sites import ExpertSite
from brodmann.neurons import NeuronSet
from tests.tiny import MOE_FAMILIES, TINY_FAMILIES, planted_model, tiny_model
from tests.tiny.opened import opened

IDS = torch.tensor([[5, 9, 21, 33, 8, 4]])


@torch.no_grad()
def logits(hf, ids=IDS):
    return hf(input_ids=ids, use_cache=False).logits


def some_neurons(model, every=3):
    mask = model.real & (torch.arange(model.n_neurons) % every == 0)
    return NeuronSet.from_mask(
        mask, real=model.real, provenance={"fingerprint": model.fingerprint, "model": model.name}
    )


def weights(hf):
    return {name: value.clone() for name, value in hf.state_dict().items()}


@pytest.mark.parametrize("by", [0.0, 2.0])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_hook_equals_baked_weights_after_a_reload(family, by, tmp_path):
    model = opened(family)
    chosen = some_neurons(model)
    plain = logits(model.hf)
    with scaled(model, chosen, by=by):
        hooked = logits(model.hf)
    bake(model, chosen, tmp_path, by=by)
    assert torch.equal(logits(model.hf), plain)
    baked = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(logits(baked), hooked, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(hooked, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_the_model_is_bit_identical_after_an_exception(family):
    model = opened(family)
    before, plain = weights(model.hf), logits(model.hf)
    implementation = getattr(model.hf.config, "_experts_implementation", None)
    hooks = {name: len(m._forward_pre_hooks) + len(m._forward_hooks)
             for name, m in model.hf.named_modules()}  # fmt: skip
    chosen = some_neurons(model)
    with pytest.raises(ZeroDivisionError), erased(model, chosen), scaled(model, chosen, by=3.0):
        logits(model.hf)
        raise ZeroDivisionError
    after = weights(model.hf)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(model.hf), plain)
    assert hooks == {name: len(m._forward_pre_hooks) + len(m._forward_hooks)
                     for name, m in model.hf.named_modules()}  # fmt: skip
    assert getattr(model.hf.config, "_experts_implementation", None) == implementation


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_erased_neurons_are_zero_and_the_others_of_the_layer_untouched(family):
    model = opened(family)
    layer = 1
    only = NeuronSet.from_pairs(
        [(layer, 0), (layer, 7)], n_layers=model.n_layers, n_neurons=model.n_neurons,
        real=model.real, provenance={"fingerprint": model.fingerprint, "model": model.name},
    )  # fmt: skip
    positions = torch.arange(IDS.numel())
    with captured(model, positions) as plain:
        logits(model.hf)
    with erased(model, only), captured(model, positions) as found:
        logits(model.hf)
    assert not found[layer].z[:, [0, 7]].any()
    rest = torch.arange(model.sites[layer].n_neurons) % 7 != 0
    torch.testing.assert_close(found[layer].z[:, rest], plain[layer].z[:, rest])
    torch.testing.assert_close(found[0].z, plain[0].z)
    assert not torch.equal(found[2].z, plain[2].z)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "olmo2", "mixtral", "qwen3_moe"])
def test_mean_ablation_puts_the_reference_mean_in_place(family):
    model = opened(family)
    examples = [Example("1+2=", "3", delimiter=""), Example("the sum of 7 and 5 =", "12")]
    reference = reference_activations(model, examples, batch_size=2)
    chosen = some_neurons(model)
    with mean_ablated(model, chosen, reference.mean), captured(model, torch.arange(6)) as found:
        logits(model.hf)
    for layer, site in enumerate(model.sites):
        picked = chosen.indices(layer)
        expected = reference.mean[layer, picked].expand(6, -1)
        z = found[layer].z[:, picked]
        if isinstance(site, ExpertSite):
            used = found[layer].routing.repeat_interleave(site.width, 1)[:, picked] != 0
            expected = expected * used
        torch.testing.assert_close(z, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_reference_activations_equal_a_loop_over_single_texts(family):
    model = opened(family)
    examples = [Example("1+2=", "3", delimiter=""), Example("the sum of 7 and 5 =", "12")]
    rows = []
    for example in examples:
        ids = model.tokenizer(example.prompt + example.delimiter + example.answer).input_ids
        with captured(model, torch.arange(len(ids))) as found:
            logits(model.hf, torch.tensor([ids]))
        rows.append(torch.stack([found[layer].z for layer in range(model.n_layers)], 1))
    expected = torch.cat(rows)
    reference = reference_activations(model, examples, batch_size=2)
    torch.testing.assert_close(reference.mean, expected.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reference.magnitude, expected.abs().mean(0), rtol=1e-4, atol=1e-5)


def test_erasing_planted_neurons_destroys_the_answer_and_scaling_does_not():
    planted = planted_model()
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    provenance = {"fingerprint": model.fingerprint, "model": model.name}
    chosen = NeuronSet.from_pairs(
        planted.planted, n_layers=model.n_layers, n_neurons=model.n_neurons, provenance=provenance
    )
    prompt, delimiter, answer = planted.examples[0]
    ids = planted.tokenizer(prompt + delimiter + answer, return_tensors="pt").input_ids

    def probability():
        return float(logits(planted.hf, ids[:, :-1])[0, -1].softmax(-1)[ids[0, -1]])

    assert probability() > 0.5
    with erased(model, chosen):
        assert probability() < 0.1
    with scaled(model, chosen, by=2.0):
        assert probability() > 0.5


def test_sets_of_another_model_are_refused_unless_forced():
    model, other = opened("llama"), opened("llama", seed=1)
    chosen = some_neurons(other)
    with pytest.raises(MismatchError), erased(model, chosen):
        pass
    with erased(model, chosen, force=True):
        logits(model.hf)
    wider = opened("bloom")
    with (
        pytest.raises(MismatchError, match="3 layers x 48"),
        erased(model, some_neurons(wider), force=True),
    ):
        pass


def test_bad_factors_and_empty_sets_are_refused(tmp_path):
    model = opened("llama")
    chosen = some_neurons(model)
    with pytest.raises(InputError, match="finite"), scaled(model, chosen, by=float("nan")):
        pass
    with pytest.raises(InputError, match="empty"):
        bake(model, chosen - chosen, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_shared_down_projections_are_not_baked(tmp_path):
    hf, tokenizer = tiny_model("llama")
    hf.model.layers[1].mlp.down_proj.weight = hf.model.layers[0].mlp.down_proj.weight
    model = wrap_model(hf, tokenizer, name="shared")
    with pytest.raises(ModelError, match="share"):
        bake(model, some_neurons(model), tmp_path)


def test_tied_embeddings_stay_tied_when_baked(tmp_path):
    model = opened("gpt2")
    bake(model, some_neurons(model), tmp_path)
    again = load_model(tmp_path)
    assert again.hf.lm_head.weight.data_ptr() == again.hf.transformer.wte.weight.data_ptr()
    assert again.fingerprint != model.fingerprint


@pytest.mark.parametrize("family", MOE_FAMILIES)
def test_expert_programs_nest_and_leave_no_trace(family):
    model = opened(family)
    chosen = some_neurons(model)
    with erased(model, chosen):
        once = logits(model.hf)
        with scaled(model, chosen, by=5.0):
            twice = logits(model.hf)
        assert torch.equal(once, logits(model.hf))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
def test_interventions_hold_during_generation(family):
    model = opened(family)
    chosen = some_neurons(model, every=2)
    with erased(model, chosen):
        generated = model.hf.generate(IDS, max_new_tokens=5, do_sample=False, pad_token_id=0)
        ids = IDS
        for _ in range(generated.shape[1] - IDS.shape[1]):
            ids = torch.cat([ids, logits(model.hf, ids)[:, -1:].argmax(-1)], 1)
    assert torch.equal(generated, ids)
