"""Neurons and adapters that the tests of tuning share."""

import copy

import torch
from peft import get_peft_model

from brodmann import NeuronSet, neuron_tuning
from brodmann.models.load import wrap_model
from tests.tiny.opened import opened

IDS = torch.tensor([[5, 17, 23, 9, 40, 11], [8, 30, 12, 55, 21, 7]])


def fresh(family, dtype=torch.float32):
    """A tiny model of one's own, to be changed."""
    model = opened(family, dtype)
    return wrap_model(copy.deepcopy(model.hf), model.tokenizer, name=f"tiny-{family}")


def some_neurons(model, seed=1, above=1, every=9):
    """Every ninth neuron, from a seeded start, in layer ``above`` and higher."""
    mask = torch.zeros_like(model.real)
    mask[above:, seed % every :: every] = True
    provenance = {"fingerprint": model.fingerprint, "model": model.name, "method": "by hand"}
    return NeuronSet.from_mask(mask & model.real, model.real, provenance)


def tuned(model, *sets, name="default", scale=0.05, **options):
    """The model with an adapter of random numbers."""
    peft = get_peft_model(model.hf, neuron_tuning(model, *sets, **options), adapter_name=name)
    randomise(peft, name, scale)
    return peft


@torch.no_grad()
def randomise(peft, name="default", scale=0.05):
    torch.manual_seed(len(name))
    for key, parameter in peft.named_parameters():
        if "brodmann_" in key and key.endswith(f".{name}"):
            parameter.normal_(0, scale)


@torch.no_grad()
def logits(hf, ids=IDS):
    return hf(input_ids=ids).logits


def bits(hf):
    return {name: tensor.clone() for name, tensor in hf.state_dict().items()}


def assert_bits(hf, before):
    after = hf.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
