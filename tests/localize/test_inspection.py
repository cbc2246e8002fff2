"""What a neuron writes and when it fires, against one-neuron-at-a-time versions."""

import pytest
import torch

from brodmann import load_model
from brodmann.data import Example
from brodmann.errors import MismatchError
from brodmann.localize import dcsn
from brodmann.localize.inspection import answer_activations, inspect_neurons, vocabulary_effect
from brodmann.neurons import NeuronSet
from tests.tiny import planted_model, tiny_model

PAIRS = [(0, 3), (2, 41), (1, 7)]
EXAMPLES = [Example("1 + 1 =", "2"), Example("a long question is this =", "7"), Example("=", "a")]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mixtral"])
def test_effect_on_logits_is_the_difference_that_one_unit_makes(family):
    model = load_model(*tiny_model(family, dtype=torch.float64))
    effects = vocabulary_effect(model, PAIRS)
    norm = model.decoder.get_submodule(model.architecture.final_norm)
    unembedding = model.hf.get_output_embeddings().weight
    for (layer, neuron), effect in zip(PAIRS, effects, strict=True):
        site = model.sites[layer]
        column = site.columns(torch.tensor([neuron]))[0]
        # A norm divides by the spread of what it gets: multiplied back, its gain remains.
        if site.post_norm is not None:
            column = _gain(site.post_norm, len(column)) * column
        centred = column - column.mean() if family == "gpt2" else column
        expected = unembedding @ (_gain(norm, len(column)) * centred)
        # Gemma's norms compute in float32 also in float64 models.
        torch.testing.assert_close(effect, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def _gain(norm: torch.nn.Module, width: int) -> torch.Tensor:
    """What the norm multiplies each dimension by, from two answers to vectors with mean 0."""
    sign = torch.ones(1, 1, width, dtype=torch.float64)
    sign[..., 1::2] = -1
    return ((norm(1e6 * sign) - norm(-1e6 * sign)) / 2 / sign)[0, 0]


def test_activations_are_those_in_front_of_the_answer():
    model = load_model(*tiny_model("llama", dtype=torch.float32))
    found = answer_activations(model, PAIRS, EXAMPLES, batch_size=2)
    for row, example in zip(found, EXAMPLES, strict=True):
        ids = model.tokenizer(example.prompt + " ", return_tensors="pt").input_ids
        for value, (layer, neuron) in zip(row, PAIRS, strict=True):
            seen = []
            down = model.sites[layer].writer
            hook = down.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
            with torch.no_grad():
                model.hf(ids)
            hook.remove()
            torch.testing.assert_close(value, seen[0][0, -1, neuron], rtol=1e-4, atol=1e-6)


def test_planted_neurons_promote_their_target_and_come_strongest_first():
    found = planted_model()
    model = load_model(found.hf, found.tokenizer)
    examples = [Example(prompt, answer, delimiter) for prompt, delimiter, answer in found.examples]
    scores = dcsn(model, {"a": examples})["a"]
    neurons = scores.top(k=len(found.planted) + 5)
    rows = inspect_neurons(model, neurons, scores, examples, n_tokens=1, n_examples=2)
    strengths = [abs(row["score"]) for row in rows]
    assert strengths == sorted(strengths, reverse=True)
    planted = [row for row in rows if (row["layer"], row["neuron"]) in found.planted]
    assert len(planted) == len(found.planted)
    for row in planted:
        assert row["promotes" if row["examples"][0]["activation"] > 0 else "suppresses"] == ["7"]
        assert row["sign"] == "+"


def test_a_set_of_another_shape_is_refused():
    model = load_model(*tiny_model("llama"))
    with pytest.raises(MismatchError, match="3 layers x 48 neurons"):
        inspect_neurons(model, NeuronSet.from_pairs([(0, 0)], 2, 48))
