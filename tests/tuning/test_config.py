"""Which neurons a config names, and what it refuses."""

import pytest
import torch
from peft import get_peft_model

from brodmann import NeuronSet, NeuronTuningConfig, neuron_tuning
from brodmann.errors import InputError, MismatchError
from tests.tuning.neurons import fresh, some_neurons


def test_sets_are_united():
    model = fresh("llama")
    one, other = some_neurons(model, 1), some_neurons(model, 2)
    config = neuron_tuning(model, one, other, one)
    assert config.n_neurons == len(one | other)
    assert {int(layer) for layer in config.neurons} == {1, 2}
    assert config.neurons["1"] == (one | other).indices(1).tolist()
    assert config.fingerprint == model.fingerprint


@pytest.mark.parametrize("neurons", [{1: [3, 0]}, {"1": [0, 3], "2": []}, {"01": [0, 3]}])
def test_layers_may_be_numbers_and_neurons_unordered(neurons):
    assert NeuronTuningConfig(neurons=neurons).neurons == {"1": [0, 3]}


def empty(model):
    return NeuronSet.from_mask(torch.zeros_like(model.real), model.real)


def of_another_model(model):
    provenance = {"fingerprint": "0123456789abcdef", "model": "another"}
    return NeuronSet.from_mask(some_neurons(model).mask, model.real, provenance)


@pytest.mark.parametrize(
    ("attempt", "error", "told"),
    [
        (lambda m: neuron_tuning(m), InputError, "one set"),
        (lambda m: neuron_tuning(m, empty(m)), InputError, "the set is empty"),
        (lambda m: neuron_tuning(m, of_another_model(m)), MismatchError, "got neurons of another"),
        (
            lambda m: neuron_tuning(m, NeuronSet.from_pairs([(0, 1)], 9, 4)),
            MismatchError,
            "3 layers x 48 neurons",
        ),
        (lambda m: get_peft_model(m.hf, NeuronTuningConfig()), InputError, "neuron_tuning"),
        (lambda m: NeuronTuningConfig(neurons={"x": [1]}), InputError, "layers as numbers"),
        (lambda m: NeuronTuningConfig(neurons={"1": [2, 2]}), InputError, "once"),
        (lambda m: NeuronTuningConfig(neurons={"1": [2], 1: [3]}), InputError, "each layer once"),
        (
            lambda m: get_peft_model(m.hf, NeuronTuningConfig(neurons={"7": [1]})),
            MismatchError,
            "layers 0 to 2",
        ),
        (
            lambda m: get_peft_model(m.hf, NeuronTuningConfig(neurons={"1": [48]})),
            MismatchError,
            "neurons from 0 to 47",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_line(attempt, error, told):
    with pytest.raises(error, match=told) as caught:
        attempt(fresh("llama"))
    assert "\n" not in str(caught.value)


def test_another_models_set_can_be_forced():
    model = fresh("llama")
    assert neuron_tuning(model, of_another_model(model), force=True).n_neurons
