import copy

import pytest
import torch

from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.localize import neft
from brodmann.neurons import NeuronScores
from tests.reference.neuron_weights import neft_reference, own_masks
from tests.tiny import TINY_FAMILIES
from tests.tiny.opened import opened


def nudged(hf, size, seed=1):
    """The model with noise on every parameter."""
    after = copy.deepcopy(hf)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in after.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += size * noise
    return after


@torch.no_grad()
def changed(hf, pairs, by):
    """The model with the weights of some neurons changed by a function."""
    after = copy.deepcopy(hf)
    parameters = dict(after.named_parameters())
    for pair in pairs:
        for name, mask in own_masks(hf, [pair], biases=False).items():
            parameters[name][mask] = by(parameters[name][mask])
    return after


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_the_reference(family):
    model = opened(family, torch.float64)
    after = nudged(model.hf, 0.1)
    scores = neft(model, after)
    assert scores.values.shape == model.real.shape
    for layer in (0, 1, 2):
        for neuron in (0, 13, model.sites[layer].n_neurons - 1):
            expected = neft_reference(model.hf, after, layer, neuron)
            assert float(scores.values[layer, neuron]) == pytest.approx(expected, rel=1e-9)
    assert (scores.values[model.real] > 0).all()
    assert (scores.values[~model.real] == 0).all()


@pytest.mark.parametrize("family", ["llama_bias", "gpt2", "phi3", "mixtral", "qwen3_moe"])
def test_the_neurons_that_were_changed_come_out_on_top(family):
    model = opened(family)
    pairs = [(0, 7), (1, 40), (2, 0)]
    after = changed(model.hf, pairs, lambda w: w + 1e-3 * torch.randn_like(w))
    scores = neft(model, after.state_dict(), tuning={"data": "by hand"})
    assert sorted(scores.top(3)) == pairs
    assert int((scores.values != 0).sum()) == 3
    assert scores.provenance["method"] == "neft"
    assert scores.provenance["fingerprint"] == model.fingerprint
    assert scores.provenance["tuning"] == {"data": "by hand"}


def test_a_small_turn_is_not_rounded_off():
    model = opened("llama", torch.float64)
    sizes = (1e-6, 1e-9)
    first, second = (
        neft(model, changed(model.hf, [(0, 3)], lambda w, s=s: w + s * torch.ones_like(w)))
        for s in sizes
    )
    assert float(first.values[0, 3] / second.values[0, 3]) == pytest.approx(1e6, rel=1e-4)


def test_turned_around_gone_and_only_longer():
    model = opened("llama", torch.float64)
    after = changed(model.hf, [(0, 1)], lambda w: -w)
    after = changed(after, [(0, 2)], torch.zeros_like)
    after = changed(after, [(0, 3)], lambda w: 2 * w)
    values = neft(model, after).values
    assert values[0, :4].tolist() == pytest.approx([0.0, 2.0, 1.0, 0.0])
    assert int((values != 0).sum()) == 2


def test_biases_do_not_enter():
    model = opened("gpt2")
    after = changed(model.hf, [(1, 5)], lambda w: w + 1)
    with torch.no_grad():
        after.transformer.h[0].mlp.c_fc.bias += 1
    assert int((neft(model, after).values != 0).sum()) == 1


def test_scores_are_saved_and_loaded(tmp_path):
    model = opened("qwen3_moe")
    scores = neft(model, nudged(model.hf, 0.01))
    scores.save(tmp_path / "neft")
    loaded = NeuronScores.load(tmp_path / "neft")
    assert torch.equal(loaded.values, scores.values)
    assert "neft" in repr(loaded)
    assert len(loaded.top(5)) == 5


def test_errors():
    model = opened("llama")
    with pytest.raises(InputError, match=r"all are as they were\. Train with method 'full' first"):
        neft(model, copy.deepcopy(model.hf))
    with pytest.raises(MismatchError, match=r"'model\.layers\.0\.mlp\.up_proj\.weight'.*none"):
        neft(model, opened("gpt2").hf)
    state = dict(nudged(model.hf, 0.1).state_dict())
    name = "model.layers.1.mlp.down_proj.weight"
    with pytest.raises(MismatchError, match=r"of shape \(32, 48\).*got \(32, 24\)"):
        neft(model, state | {name: state[name][:, :24]})
    with pytest.raises(ModelError, match="layer 1 holds NaN or infinity after the fine-tune"):
        neft(model, state | {name: state[name] * torch.nan})
