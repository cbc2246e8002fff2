"""Everything is trained but the neurons: they stay bit-identical, and all else moves."""

import json

import pytest
import torch
from transformers import Trainer, TrainingArguments

from brodmann.errors import InputError, MismatchError, RunError
from brodmann.interventions import erased
from brodmann.neurons import NeuronSet
from brodmann.tuning.frozen_neurons import prepare_without
from brodmann.tuning.prepared import prepare_full
from tests.reference.neuron_weights import own_masks
from tests.tiny import TINY_FAMILIES
from tests.tuning.baselines import moved, numbers, step
from tests.tuning.neurons import IDS, fresh, logits, some_neurons


@pytest.mark.parametrize("mode", ["freeze_located", "erase_then_tune_rest"])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_without_moves_everything_but_the_neurons(family, mode):
    model = fresh(family)
    neurons = some_neurons(model)
    masks = own_masks(model.hf, list(neurons))
    before = numbers(model.hf)
    prepared = prepare_without(model, neurons, mode)
    if mode == "erase_then_tune_rest":
        with torch.no_grad():
            for name, mask in masks.items():
                before[name][mask] = 0
        assert not any(changed.any() for changed in moved(model.hf, before).values())
    step(prepared)
    own = sum(int(mask.sum()) for mask in masks.values())
    assert prepared.trained_parameters == sum(p.numel() for p in model.hf.parameters()) - own
    for name, changed in moved(model.hf, before).items():
        mask = masks.get(name, torch.zeros_like(changed))
        assert not changed[mask].any()
        assert changed[~mask].float().mean() > 0.99


@pytest.mark.parametrize("family", ["llama_bias", "gpt2", "phi3", "qwen3_moe"])
def test_erased_parameters_are_an_erased_model(family):
    model = fresh(family)
    neurons = some_neurons(model)
    with erased(model, neurons):
        expected = logits(model.hf)
    prepare_without(model, neurons, "erase_then_tune_rest")
    torch.testing.assert_close(logits(model.hf), expected, rtol=1e-4, atol=1e-4)


def trainer_of(prepared, folder):
    rows = [{"input_ids": ids, "labels": ids} for ids in IDS] * 2
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=3, learning_rate=1e-2, weight_decay=0.1, use_cpu=True,
        per_device_train_batch_size=2, report_to="none", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    callbacks = list(prepared.callbacks)
    return Trainer(prepared.trained, arguments, train_dataset=rows, callbacks=callbacks)


def test_the_trainer_keeps_them_still_and_lets_go_afterwards(tmp_path):
    model = fresh("llama_bias")
    neurons = some_neurons(model)
    masks = own_masks(model.hf, list(neurons))
    prepared = prepare_without(model, neurons)
    before = numbers(model.hf)
    trainer_of(prepared, tmp_path).train()
    for name, changed in moved(model.hf, before).items():
        mask = masks.get(name, torch.zeros_like(changed))
        assert not changed[mask].any()
        assert changed[~mask].float().mean() > 0.99
    step(prepare_full(model))  # nothing of the frozen neurons is left behind
    assert all(changed.float().mean() > 0.99 for changed in moved(model.hf, before).values())


def test_frozen_parameters_have_no_gradient_and_others_their_own():
    model = fresh("phi3")
    neurons = some_neurons(model)
    masks = own_masks(model.hf, list(neurons))
    prepared = prepare_without(model, neurons)
    model.hf(input_ids=IDS, labels=IDS).loss.backward()
    full = {name: p.grad.clone() for name, p in model.hf.named_parameters()}
    model.hf.zero_grad()
    prepared.callbacks[0].begin()
    model.hf(input_ids=IDS, labels=IDS).loss.backward()
    for name, parameter in model.hf.named_parameters():
        mask = masks.get(name, torch.zeros_like(parameter, dtype=torch.bool))
        assert torch.equal(parameter.grad, full[name].masked_fill(mask, 0))


@pytest.mark.parametrize("family", ["llama", "phi3", "qwen3_moe"])
def test_frozen_neurons_say_which_they_are(family):
    def work(start, mode="freeze_located"):
        model = fresh(family)
        prepared = prepare_without(model, some_neurons(model, start), mode)
        said = prepared.callbacks[0].work(prepared.trained)
        return json.dumps(said)

    assert work(1) == work(1)
    assert work(1) != work(2)
    assert work(1) != work(1, "erase_then_tune_rest")


def test_replaced_parameters_are_refused(tmp_path):
    model = fresh("llama")
    prepared = prepare_without(model, some_neurons(model))
    down = model.sites[1].down
    down.weight = torch.nn.Parameter(down.weight.detach().clone())
    with pytest.raises(RunError, match=r"FSDP.*with DDP"):
        trainer_of(prepared, tmp_path).train()


def test_weights_that_are_trained_in_bfloat16_are_told():
    assert "kept in bfloat16" in prepare_full(fresh("llama", torch.bfloat16)).note
    model = fresh("llama", torch.bfloat16)
    prepared = prepare_without(model, some_neurons(model))
    assert "kept in bfloat16" in prepared.note
    step(prepared)


def test_sets_that_cannot_be_left_out():
    model = fresh("llama")
    empty = NeuronSet.from_pairs([], 3, 48)
    with pytest.raises(InputError, match="the set is empty"):
        prepare_without(model, empty)
    with pytest.raises(InputError, match="freeze_located, erase_then_tune_rest; got 'both'"):
        prepare_without(model, some_neurons(model), "both")
    with pytest.raises(MismatchError, match="3 layers x 128 neurons"):
        prepare_without(fresh("mpt"), some_neurons(model))
    other = some_neurons(fresh("mistral"))
    with pytest.raises(MismatchError, match="force"):
        prepare_without(model, other)
    assert prepare_without(model, other, force=True).callbacks
