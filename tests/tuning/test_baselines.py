"""Every method of tuning moves what it should move, and leaves the rest bit-identical."""

import pytest
import torch

from brodmann.errors import InputError, ModelError
from brodmann.tuning.lora import prepare_lora
from brodmann.tuning.olora import prepare_olora
from brodmann.tuning.prepared import prepare_full, prepare_neurons
from brodmann.tuning.super_tuning import prepare_super
from tests.reference.neuron_weights import own_masks
from tests.tiny import MOE_FAMILIES, TINY_FAMILIES
from tests.tuning.baselines import assert_base_stays_and_adapter_moves, moved, numbers, step
from tests.tuning.neurons import fresh, logits, some_neurons

CONV1D = ("gpt2",)
NO_DENSE = ("mixtral",)


KINDS = ("llama_bias", "gpt2", "phi3", "gemma2", "opt", "mixtral", "qwen3_moe")
"""One family of each kind of MLP; every family is in test_layers and test_frozen_neurons."""


@pytest.mark.parametrize("family", KINDS)
def test_full_moves_everything(family):
    model = fresh(family)
    before = numbers(model.hf)
    prepared = step(prepare_full(model))
    assert prepared.trained is model.hf
    assert prepared.note is None
    assert prepared.trained_parameters == sum(p.numel() for p in model.hf.parameters())
    assert all(changed.float().mean() > 0.99 for changed in moved(model.hf, before).values())


@pytest.mark.parametrize("family", KINDS)
def test_neurons_move_and_nothing_else(family):
    model = fresh(family)
    neurons = some_neurons(model)
    before = numbers(model.hf)
    own = sum(int(mask.sum()) for mask in own_masks(model.hf, list(neurons)).values())
    prepared = prepare_neurons(model, neurons)
    assert_base_stays_and_adapter_moves(step(prepared), before)
    assert prepared.trained_parameters == own


def mlp_matrices(hf, layers=range(3)):
    """The names of all matrices of dense MLPs, found by hand."""
    masks = own_masks(hf, [(layer, 0) for layer in layers], biases=False)
    return [name for name in masks if ".experts." not in name]


def adapted(trained, marker):
    """The matrices that have trained numbers beside them, by the names they had before."""
    names = [n for n, p in trained.named_parameters() if p.requires_grad]
    return {n.removeprefix("base_model.model.").split(marker)[0] + ".weight" for n in names}


@pytest.mark.parametrize("family", [f for f in TINY_FAMILIES if f not in MOE_FAMILIES])
def test_lora_moves_its_matrices_alone(family):
    model = fresh(family)
    before, untouched, matrices = numbers(model.hf), logits(model.hf), mlp_matrices(model.hf)
    prepared = prepare_lora(model, rank=2)
    assert torch.equal(logits(prepared.trained), untouched)
    assert_base_stays_and_adapter_moves(step(prepared), before)
    assert adapted(prepared.trained, ".lora_") == set(matrices)
    assert prepared.trained_parameters == sum(2 * sum(before[name].shape) for name in matrices)


def test_lora_of_some_layers_and_with_a_scale():
    model = fresh("llama")
    prepared = prepare_lora(model, rank=2, alpha=6, dropout=0.1, layers=[2])
    named = [name for name, p in prepared.trained.named_parameters() if p.requires_grad]
    assert len(named) == 6
    assert all(".layers.2." in name for name in named)
    assert prepared.trained.peft_config["default"].lora_alpha == 6


@pytest.mark.parametrize("family", [f for f in KINDS if f not in NO_DENSE + CONV1D])
def test_super_tuning_moves_about_as_many_as_asked_for(family):
    model = fresh(family)
    before, matrices = numbers(model.hf), mlp_matrices(model.hf)
    prepared = prepare_super(model, 600)
    assert adapted(prepared.trained, ".supertuning_") == set(matrices)
    expected = "layers of experts are not reached and stay as they are: [0, 2]"
    assert prepared.note == (expected if family == "qwen3_moe" else None)
    assert 600 - 9 <= prepared.trained_parameters <= 600
    assert_base_stays_and_adapter_moves(step(prepared), before)


def test_models_that_cannot_be_prepared():
    model = fresh("llama")
    prepare_lora(model)
    for prepare in (prepare_full, prepare_lora, lambda m: prepare_super(m, 600)):
        with pytest.raises(ModelError, match=r"without adapters.*merge them first"):
            prepare(model)
    with pytest.raises(ModelError, match="all of them are mixtures of experts"):
        prepare_super(fresh("mixtral"), 600)
    for family in MOE_FAMILIES:
        for prepare in (prepare_lora, lambda m: prepare_olora(m, [])):
            with pytest.raises(ModelError, match="has layers of experts"):
                prepare(fresh(family))
    with pytest.raises(ModelError, match="Compare with method 'lora'"):
        prepare_super(fresh("gpt2"), 600)
    model = fresh("llama")
    model.sites[0].down.weight = torch.nn.Parameter(torch.empty(32, 48, device="meta"))
    with pytest.raises(ModelError, match=r"down_proj\.weight' of 'tiny-llama' is elsewhere"):
        prepare_full(model)


def test_options_that_cannot_be():
    with pytest.raises(InputError, match="rank of 1 or more; got 0"):
        prepare_lora(fresh("llama"), rank=0)
    with pytest.raises(InputError, match="dropout from 0 to below 1; got 1"):
        prepare_lora(fresh("llama"), dropout=1)
    with pytest.raises(InputError, match=r"layers from 0 to 2; got \[1, 3\]"):
        prepare_lora(fresh("llama"), layers=[3, 1])
    with pytest.raises(InputError, match="got none"):
        prepare_lora(fresh("llama"), layers=[])
    for count in (8, 9 * 32 * 48 + 1):
        with pytest.raises(InputError, match="Expected 9 to 13,824 weights to train"):
            prepare_super(fresh("llama"), count)
    assert prepare_super(fresh("llama"), 9).trained_parameters == 9
    assert prepare_super(fresh("llama"), 9 * 32 * 48).trained_parameters == 9 * 32 * 48
