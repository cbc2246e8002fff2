"""The planting is right: the planted neurons, and only they, write the answer.

The slow, obvious check: columns of the down projection set to zero one set at a time, prompts
one at a time.
"""

import copy
import random

import pytest
import torch

from tests.tiny import planted_model

KINDS = ("gated", "plain", "post_norm")


def down(layer):
    return layer.mlp.down_proj if hasattr(layer.mlp, "down_proj") else layer.mlp.c_proj


@torch.no_grad()
def probabilities(model, tokenizer, examples):
    found = []
    for prompt, delimiter, answer in examples:
        ids = tokenizer(prompt + delimiter, return_tensors="pt")["input_ids"]
        target = tokenizer.convert_tokens_to_ids(answer)
        found.append(model(input_ids=ids).logits[0, -1].softmax(-1)[target])
    return torch.stack(found)


@torch.no_grad()
def without(model, pairs):
    edited = copy.deepcopy(model)
    for layer, neuron in pairs:
        down(edited.model.layers[layer]).weight[:, neuron] = 0
    return edited


@torch.no_grad()
def observed(model, tokenizer, text):
    """At the last token: each down projection's input and output, and the final norm's input."""
    kept = {}
    hooks = [
        down(layer).register_forward_hook(
            lambda _, args, out, at=at: kept.update({at: (args[0][0, -1], out[0, -1])})
        )
        for at, layer in enumerate(model.model.layers)
    ]
    final = model.model.norm
    hooks.append(final.register_forward_pre_hook(lambda _, args: kept.update(h=args[0][0, -1])))
    model(input_ids=tokenizer(text, return_tensors="pt")["input_ids"])
    for hook in hooks:
        hook.remove()
    return kept


@torch.no_grad()
def slow_dcsn(planted, examples):
    """Mean over examples of z_j <g * W_un[t] - its mean if centred, w_j> / s, one at a time."""
    model, tokenizer = planted.hf, planted.tokenizer
    norm, head = model.model.norm, model.get_output_embeddings().weight
    centred = isinstance(norm, torch.nn.LayerNorm)
    scores = torch.zeros(len(model.model.layers), down(model.model.layers[0]).weight.shape[1])
    for prompt, delimiter, answer in examples:
        kept = observed(model, tokenizer, prompt + delimiter)
        direction = head[tokenizer.convert_tokens_to_ids(answer)] * norm.weight
        direction = direction - direction.mean() if centred else direction
        h = kept["h"] - kept["h"].mean() if centred else kept["h"]
        for at, layer in enumerate(model.model.layers):
            z, written = kept[at]
            columns = down(layer).weight
            if hasattr(layer, "post_feedforward_layernorm"):
                columns = columns * layer.post_feedforward_layernorm.weight[:, None]
                columns = columns / written.square().mean().sqrt()
            scores[at] += z * (direction @ columns) / h.square().mean().sqrt()
    return scores / len(examples)


@pytest.mark.parametrize("kind", KINDS)
def test_zeroing_the_planted_columns_destroys_the_answer_and_no_others_do(kind):
    planted = planted_model(kind=kind)
    model, tokenizer, examples = planted.hf, planted.tokenizer, planted.examples
    assert probabilities(model, tokenizer, examples).min() > 0.9
    assert probabilities(without(model, planted.planted), tokenizer, examples).max() < 0.1
    every = [
        (layer, j) for layer in range(3) for j in range(48) if (layer, j) not in planted.planted
    ]
    for seed in range(3):
        some = random.Random(seed).sample(every, 20)
        assert probabilities(without(model, some), tokenizer, examples).min() > 0.9
    assert probabilities(without(model, every), tokenizer, examples).min() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_planted_neurons_are_off_on_neutral_text(kind):
    planted = planted_model(kind=kind)
    erased = without(planted.hf, planted.planted)
    for text in planted.neutral:
        ids = planted.tokenizer(text, return_tensors="pt")["input_ids"]
        torch.testing.assert_close(
            planted.hf(input_ids=ids).logits, erased(input_ids=ids).logits, rtol=0, atol=1e-2
        )


@pytest.mark.parametrize("kind", KINDS)
def test_dcsn_ranks_the_planted_first_by_a_wide_margin(kind):
    planted = planted_model(kind=kind)
    scores = slow_dcsn(planted, planted.examples)
    found = scores[tuple(torch.tensor(planted.planted).T)]
    scores[tuple(torch.tensor(planted.planted).T)] = 0
    assert found.min() > 10 * scores.abs().max()
    assert found.max() < 1.5 * found.min()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_six_sigma_selects_exactly_the_planted_in_wide_models(kind, scope):
    pairs = [(0, 7), (0, 90), (1, 3), (1, 150), (2, 55), (2, 299)]
    planted = planted_model(n_neurons=300, planted=pairs, kind=kind)
    scores = slow_dcsn(planted, planted.examples)
    groups = scores if scope == "layer" else scores.flatten()[None]
    far = (groups - groups.mean(1, keepdim=True)).abs() > 6 * groups.std(1, keepdim=True)
    selected = [tuple(pair) for pair in far.reshape(scores.shape).nonzero().tolist()]
    assert tuple(selected) == planted.planted


@pytest.mark.parametrize("kind", KINDS)
def test_two_capabilities_and_what_they_share(kind):
    planted = planted_model(
        planted=[(0, 1), (1, 2)], other=[(1, 30), (2, 31)], common=[(2, 8)], kind=kind
    )
    model, tokenizer = planted.hf, planted.tokenizer
    both = [(planted.examples, planted.planted), (planted.other_examples, planted.other)]
    for (examples, own), (_, others) in (both, both[::-1]):
        assert probabilities(model, tokenizer, examples).min() > 0.9
        assert probabilities(without(model, others), tokenizer, examples).min() > 0.9
        everything = own + planted.common
        assert probabilities(without(model, everything), tokenizer, examples).max() < 0.1


def test_greedy_generation_gives_the_answer_and_stops():
    planted = planted_model()
    ids = planted.tokenizer(planted.examples[0][0], return_tensors="pt")["input_ids"]
    out = planted.hf.generate(ids, max_new_tokens=5, do_sample=False)
    assert out[0, ids.shape[1] :].tolist() == planted.tokenizer.convert_tokens_to_ids(["7", "</s>"])
