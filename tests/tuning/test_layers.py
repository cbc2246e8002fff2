"""Adapters in every family: what they compute, what they train, and what they leave alone."""

import pytest
import torch
from peft import get_peft_model

from brodmann import neuron_tuning
from brodmann.errors import InputError, ModelError
from brodmann.models.neuron_parameters import neuron_slices
from tests.tiny import MOE_FAMILIES, TINY_FAMILIES, packable_model
from tests.tuning.neurons import (
    IDS,
    assert_bits,
    bits,
    fresh,
    logits,
    some_neurons,
    tuned,
)

DENSE = [family for family in TINY_FAMILIES if family not in MOE_FAMILIES]


def loss_of(hf):
    return hf(input_ids=IDS, labels=IDS).loss


def learnt(peft):
    return {n: p for n, p in peft.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_a_new_adapter_changes_nothing_and_trains_only_itself(family):
    model = fresh(family)
    expected, neurons = logits(model.hf), some_neurons(model)
    peft = get_peft_model(model.hf, neuron_tuning(model, neurons))
    assert torch.equal(logits(peft), expected)
    assert all("brodmann_" in name for name in learnt(peft))
    own = sum(
        int(n) * s.parameters_per_neuron for n, s in zip(neurons.counts, model.sites, strict=True)
    )
    assert sum(p.numel() for p in learnt(peft).values()) == own
    assert not any(".0." in name.split("mlp")[0] for name in learnt(peft))


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_gradients_are_the_rows_and_columns_of_full_fine_tunings(family):
    """Summed over every kind of parameter: the adapter's update is full tuning's, restricted."""
    model, full = fresh(family, torch.float64), fresh(family, torch.float64)
    neurons = some_neurons(model)
    peft = get_peft_model(model.hf, neuron_tuning(model, neurons))
    loss_of(peft).backward()
    step = {name: p.grad for name, p in learnt(peft).items()}
    with torch.no_grad():
        for name, parameter in learnt(peft).items():
            parameter.sub_(step[name])
    peft.merge_adapter()
    loss_of(full.hf).backward()
    for site, mine in zip(full.sites, model.sites, strict=True):
        indices = neurons.indices(site.layer)
        if not len(indices):
            continue
        parts = zip(neuron_slices(site, indices), neuron_slices(mine, indices), strict=True)
        for whole, own in parts:
            expected = whole.read() - whole.read(whole.parameter.grad)
            torch.testing.assert_close(own.read(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_training_with_weight_decay_leaves_every_other_bit_alone(family):
    model = fresh(family)
    before = bits(model.hf)
    peft = get_peft_model(model.hf, neuron_tuning(model, some_neurons(model)))
    optimiser = torch.optim.AdamW(peft.parameters(), lr=1e-2, weight_decay=0.5)
    first = loss_of(peft)
    for _ in range(3):
        optimiser.zero_grad()
        loss_of(peft).backward()
        optimiser.step()
    assert loss_of(peft) < first
    assert_bits(peft.unload(), before)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_merged_and_unmerged_compute_the_same_and_unmerging_is_exact(family):
    model = fresh(family, torch.float64)
    plain, before = logits(model.hf), bits(model.hf)
    peft = tuned(model, some_neurons(model))
    live, state = logits(peft), bits(peft)
    assert not torch.allclose(live, plain, rtol=1e-2)
    with peft.disable_adapter():
        assert torch.equal(logits(peft), plain)
    peft.merge_adapter()
    torch.testing.assert_close(logits(peft), live, rtol=1e-10, atol=1e-10)
    peft.unmerge_adapter()
    assert_bits(peft, state)
    assert torch.equal(logits(peft), live)
    peft.merge_adapter()
    with peft.disable_adapter():
        assert torch.equal(logits(peft), plain)
    assert_bits(peft.unload(), before)
    merged = tuned(model, some_neurons(model)).merge_and_unload()
    assert type(merged) is type(model.hf)
    torch.testing.assert_close(logits(merged), live, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "mixtral"])
def test_disjoint_adapters_add_up_and_switch(family):
    model = fresh(family, torch.float64)
    one, other = some_neurons(model, 1), some_neurons(model, 2)
    peft = tuned(model, one, name="one")
    first = logits(peft)
    peft.add_adapter("other", neuron_tuning(model, other))
    assert torch.equal(logits(peft), first)
    for name, parameter in peft.named_parameters():
        if name.endswith(".other"):
            parameter.data.normal_(0, 0.05)
    peft.set_adapter("other")
    second = logits(peft)
    assert {name.rsplit(".", 1)[1] for name in learnt(peft)} == {"other"}
    peft.base_model.set_adapter(["one", "other"])
    both = logits(peft)
    assert {name.rsplit(".", 1)[1] for name in learnt(peft)} == {"one", "other"}
    state = bits(peft)
    peft.merge_adapter()
    torch.testing.assert_close(logits(peft), both, rtol=1e-10, atol=1e-10)
    peft.unmerge_adapter()
    assert_bits(peft, state)
    peft.delete_adapter("one")
    torch.testing.assert_close(logits(peft), second, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(second, first)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_adapters_of_the_same_neurons_are_not_used_together(family):
    model = fresh(family)
    peft = tuned(model, some_neurons(model), name="one")
    peft.add_adapter("other", neuron_tuning(model, some_neurons(model)))
    before = bits(peft)
    for attempt in (
        lambda: peft.base_model.set_adapter(["one", "other"]),
        lambda: peft.merge_adapter(["one", "other"]),
        lambda: peft.base_model.merge_and_unload(adapter_names=["one", "other"]),
        lambda: (
            model.hf.model.layers[1]
            .mlp.get_submodule("experts" if family == "mixtral" else "up_proj")
            .set_adapter(["one", "other"])
        ),
    ):
        with pytest.raises(InputError, match="different neurons") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert_bits(peft, before)
    peft.merge_adapter(["one"])
    with pytest.raises(InputError, match="different neurons"):
        peft.merge_adapter(["other"])


def test_layers_without_chosen_neurons_stay_what_they_were():
    model = fresh("llama")
    modules = {name: type(module) for name, module in model.hf.named_modules()}
    tuned(model, some_neurons(model, above=2))
    for name, module in model.hf.named_modules():
        if "layers.2.mlp" not in name:
            assert type(module) is modules[name]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_no_backward_pass_goes_below_the_lowest_tuned_layer(family):
    model = fresh(family)
    peft = tuned(model, some_neurons(model, above=2))
    reached = []
    for site in model.sites:
        site.layer_module.register_full_backward_hook(lambda *_, at=site.layer: reached.append(at))
    loss_of(peft).backward()
    assert set(reached) <= {2}
    assert all(p.grad is not None for p in learnt(peft).values())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bfloat16_models_keep_float32_differences(family):
    model = fresh(family, torch.bfloat16)
    peft = tuned(model, some_neurons(model))
    assert {p.dtype for p in learnt(peft).values()} == {torch.float32}
    live = logits(peft)
    assert live.dtype == torch.bfloat16
    loss_of(peft).backward()
    assert {p.grad.dtype for p in learnt(peft).values()} == {torch.float32}
    state = bits(peft)
    peft.merge_adapter()
    assert (logits(peft).argmax(-1) == live.argmax(-1)).float().mean() > 0.9
    peft.unmerge_adapter()
    assert_bits(peft, state)


def test_biases_can_be_left_alone():
    model = fresh("gpt2")
    peft = tuned(model, some_neurons(model), train_bias=False)
    assert not any("bias" in name for name in learnt(peft))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_dense_difference_is_what_merging_adds(family):
    model = fresh(family, torch.float64)
    peft = tuned(model, some_neurons(model))
    site = model.sites[1]
    for module in (model.hf.get_submodule(n) for n in layer_names(model, 1)):
        before = module.weight.clone()
        module.merge()
        torch.testing.assert_close(module.weight - before, module.get_delta_weight("default"))
        module.unmerge()
    assert site.layer == 1
    assert peft.active_adapters == ["default"]


def layer_names(model, layer):
    names = {id(m): n for n, m in model.hf.named_modules()}
    return [
        n.removesuffix(".base_layer")
        for s in neuron_slices(model.sites[layer], torch.tensor([0]))
        if s.kind != "bias"
        for n in [names[id(owner(model.hf, s.parameter))]]
    ]


def owner(hf, parameter):
    return next(m for m in hf.modules() if any(p is parameter for p in m._parameters.values()))


def test_nan_is_not_merged_where_safety_is_asked_for():
    model = fresh("llama")
    peft = tuned(model, some_neurons(model))
    list(learnt(peft).values())[-1].data.fill_(torch.nan)
    before = bits(peft)
    with pytest.raises(InputError, match="finite"):
        peft.merge_adapter(safe_merge=True)
    with pytest.raises(InputError, match="finite"):
        peft.merge_and_unload(safe_merge=True)
    after = peft.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if "brodmann" not in n)


@pytest.mark.parametrize("bits_kept", [4, 8])
def test_packed_models_are_tuned_but_not_merged(bits_kept, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from brodmann.models.load import wrap_model

    hf, tokenizer = packable_model()
    hf.save_pretrained(tmp_path)
    how = BitsAndBytesConfig(load_in_4bit=bits_kept == 4, load_in_8bit=bits_kept == 8)
    packed = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=how)
    model = wrap_model(packed, tokenizer, name="packed")
    before = bits(model.hf)
    peft = get_peft_model(model.hf, neuron_tuning(model, some_neurons(model)))
    optimiser = torch.optim.AdamW(learnt(peft).values(), lr=1e-2)
    first = loss_of(peft)
    for _ in range(3):
        optimiser.zero_grad()
        loss_of(peft).backward()
        optimiser.step()
    assert loss_of(peft) < first
    assert {p.dtype for p in learnt(peft).values()} == {torch.float32}
    for attempt in (peft.merge_adapter, peft.merge_and_unload):
        with pytest.raises(ModelError, match="without quantisation"):
            attempt()
    assert_bits(peft.unload(), before)
