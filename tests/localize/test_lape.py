"""LAPE, against a slow reference, and on a model with neurons that fire for one group only."""

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError, ModelError
from brodmann.localize import lape
from brodmann.localize.lape import _entropy, _selected
from brodmann.models.tokens import tokenise_answers
from brodmann.neurons import NeuronSet
from brodmann.storage import read_tensors
from tests.reference.lape import firing_reference, lape_reference
from tests.tiny import TINY_FAMILIES
from tests.tiny.opened import opened

GROUPS = {
    "sums": [Example("1+2=", "3", ""), Example("the sum of 7 and 5 =", "12"), Example("9-4", "5")],
    "words": [Example("a sea of", "ice"), Example("there was a very long story", "told twice")],
}


def counted_texts(model, examples):
    texts = [(e.prompt, e.delimiter, e.answer) for e in examples]
    special = set(model.tokenizer.all_special_ids)
    answers = tokenise_answers(model, texts)
    return [(list(a.ids), [token not in special for token in a.ids]) for a in answers]


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_the_reference(family):
    model = opened(family, torch.float64)
    found = lape(model, GROUPS, batch_size=2, percentile=0.7, share=0.1)
    expected = torch.stack(
        [firing_reference(model, counted_texts(model, examples)) for examples in GROUPS.values()]
    )
    torch.testing.assert_close(found.probabilities, expected, rtol=0, atol=1e-12)
    flat = [group[model.real].tolist() for group in expected]
    entropies, sets = lape_reference(flat, 0.7, 0.1)
    assert found.entropy[model.real].tolist() == pytest.approx(entropies, abs=1e-12)
    pairs = model.real.nonzero().tolist()
    for neurons, indices in zip(found.neurons.values(), sets, strict=True):
        assert sorted(neurons) == sorted(tuple(pairs[j]) for j in indices)
    assert any(len(neurons) for neurons in found.neurons.values())


def test_neurons_that_fire_for_one_group_only_are_found():
    model = opened("llama")
    token = model.tokenizer.convert_tokens_to_ids("Z")
    assert token not in (None, model.tokenizer.unk_token_id)
    with torch.no_grad():  # dimension 0 tells Z from all else, dimension 1 is there at every token
        embeddings = model.hf.get_input_embeddings().weight
        embeddings[:, 0], embeddings[:, 1] = -1.0, 1.0
        embeddings[token, 0] = 1.0
        for layer in model.hf.model.layers:
            layer.self_attn.o_proj.weight[:2] = 0
            layer.mlp.down_proj.weight[:2] = 0
            layer.mlp.gate_proj.weight.zero_()
            layer.input_layernorm.weight.fill_(1.0)
            layer.post_attention_layernorm.weight.fill_(1.0)
        model.hf.model.layers[1].mlp.gate_proj.weight[7, 0] = 1.0
        model.hf.model.layers[2].mlp.gate_proj.weight[30, 0] = -1.0
        model.hf.model.layers[0].mlp.gate_proj.weight[3, 1] = 1.0
    groups = {
        "zs": [Example("ZZZZ", "ZZ", ""), Example("ZZ a", "Z", "")],
        "others": [Example("a plain text", "b"), Example("x", "y and z")],
    }
    found = lape(model, groups, share=3 / model.n_neurons_total, percentile=0.5)
    assert found.probabilities[1, 1, 7] == 0 and found.probabilities[0, 1, 7] > 0.7
    assert float(found.entropy[1, 7]) == 0.0
    assert (1, 7) in found.neurons["zs"] and (1, 7) not in found.neurons["others"]
    # Two may be kept: the one that fires everywhere is left out, the one of the others is not.
    found = lape(model, groups, share=2 / model.n_neurons_total, percentile=0.5)
    assert list(found.neurons["zs"]) == [(1, 7), (2, 30)]  # it fires at the space and the a too
    assert list(found.neurons["others"]) == [(2, 30)]
    assert found.scores().top(1).mask[1, 7]


def test_the_rule_by_hand():
    first = torch.tensor([[0.9, 0.5, 0.0, 0.9, 0.1]], dtype=torch.float64)
    second = torch.tensor([[0.0, 0.5, 0.0, 0.8, 0.0]], dtype=torch.float64)
    probabilities = torch.stack([first, second])
    entropy = _entropy(probabilities)
    assert entropy[0, 0] == 0 and entropy[0, 4] == 0
    assert float(entropy[0, 2]) == pytest.approx(torch.tensor(2.0).log().item())
    real = torch.ones(1, 5, dtype=torch.bool)
    (one, two), rule = _selected(probabilities, entropy, real, 0.6, 0.4)
    assert rule["probability_above"] == 0.5  # the sixth of ten
    assert one.nonzero()[:, 1].tolist() == [0, 3]  # neuron 4 is sure, and too rare
    assert two.nonzero()[:, 1].tolist() == [3]
    assert rule["kept"] == 2


def test_batches_do_not_matter_and_a_folder_holds_all(tmp_path):
    model = opened("qwen3_moe")
    one, three = (lape(model, GROUPS, batch_size=size, share=0.1) for size in (1, 3))
    assert torch.equal(one.probabilities, three.probabilities)
    one.write_into(tmp_path)
    tensors, metadata = read_tensors(tmp_path / "lape.safetensors")
    assert torch.equal(tensors["entropy"], one.entropy)
    assert metadata["groups"].split("\n") == ["sums", "words"]
    for number, (name, neurons) in enumerate(one.neurons.items(), start=1):
        loaded = NeuronSet.load(tmp_path / "sets" / f"{number}-{name}")
        assert loaded == neurons
        assert loaded.provenance["rule"]["percentile"] == 0.95
        assert loaded.provenance["tokens"][name] > 0
    scores = one.scores()
    assert scores.values.min() >= 0 and not scores.values[~model.real].any()
    assert scores.n_samples == 5


def test_bad_input():
    model = opened("llama")
    for groups, options, error, said in [
        ({"one": GROUPS["sums"]}, {}, InputError, "two or more groups"),
        (GROUPS | {"none": []}, {}, DataError, "'none' has none"),
        (GROUPS, {"percentile": 1.0}, InputError, "percentile"),
        (GROUPS, {"share": 0.0}, InputError, "share"),
    ]:
        with pytest.raises(error, match=said):
            lape(model, groups, **options)
    mixture = opened("mixtral")
    mixture.sites[0].experts.__dict__["_modules"].pop("act_fn")
    mixture.sites[0].experts.act_fn = torch.nn.functional.silu
    with pytest.raises(ModelError, match="a non-linearity that can be observed in layer 0"):
        lape(mixture, GROUPS)
