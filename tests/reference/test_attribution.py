"""The slow integrated gradients are right: they add up, and agree with what autograd says alone."""

import copy
import math

import pytest
import torch

from tests.reference.attribution import attribution_reference, zeroed_difference
from tests.tiny import MOE_FAMILIES, POST_NORM_FAMILIES, TINY_FAMILIES
from tests.tiny.opened import opened

DENSE = ["llama", "gpt2", "gemma3_text", "opt", "bloom"]


def opened64(family):
    return opened(family, torch.float64)


def answer(model, text="a sum: 12-7 is 45", n_answer=2):
    ids = model.tokenizer(text)["input_ids"]
    return ids, len(ids) - n_answer


def probability(hf, ids, token):
    return hf(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)[token]


def down_weight(layer):
    """The down projection's weight, and the dimensions of it that are not neurons'."""
    mlp = getattr(layer, "mlp", None) or getattr(layer, "ffn", None) or layer
    if hasattr(mlp, "experts"):
        return mlp.experts.down_proj, 1
    names = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h")
    down = next(getattr(mlp, name) for name in names if hasattr(mlp, name))
    return down.weight, 1 if type(down).__name__ == "Conv1D" else 0


def blocks(hf):
    decoder = hf.get_decoder()
    return next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))


def zeroed_mean(model, ids, n_prompt, layer, site="down_in"):
    tokens = range(len(ids) - n_prompt)
    return sum(zeroed_difference(model, ids, n_prompt, m, layer, site) for m in tokens) / len(
        tokens
    )


def completeness_error(model, layer, site="down_in", **options):
    ids, n_prompt = answer(model)
    found = attribution_reference(
        model, [(ids, n_prompt)], steps=60, layers=[layer], site=site, **options
    )
    expected = zeroed_mean(model, ids, n_prompt, layer, site)
    return abs(float(found.sum()) - expected) / abs(expected)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("family", DENSE)
def test_a_layers_attributions_add_up_to_what_zeroing_it_takes_away(family, layer):
    # ReLUs above bend P sharply, which slows quadrature down.
    limit = 1e-2 if family == "opt" and layer < 2 else 1e-5
    assert completeness_error(opened64(family), layer) < limit


@pytest.mark.parametrize("family", MOE_FAMILIES)
def test_experts_add_up_where_no_router_stands_above(family):
    """Where one does, P jumps when the router changes its mind, which no gradient sees."""
    assert completeness_error(opened64(family), 2) < 1e-5


@pytest.mark.parametrize(
    ("family", "site"),
    [
        *[(family, "gate_pre") for family in ("llama", "phi3", "glm4")],
        *[(family, "up_pre") for family in ("phi3", "gpt2", "bloom")],
        *[(family, "act") for family in ("gpt2", "stablelm")],
    ],
)
def test_other_sites_add_up_too(family, site):
    assert completeness_error(opened64(family), 1, site) < 1e-5


@pytest.mark.parametrize("family", ["gemma2", "olmo2", "glm4"])
def test_evenly_spaced_points_miss_where_a_post_norm_bends(family):
    model = opened64(family)
    assert completeness_error(model, 1) < 1e-5
    assert completeness_error(model, 1, rule="midpoint") > 1e-2


@pytest.mark.parametrize("family", ["llama", "phi3", "gemma2"])
def test_sites_that_are_linear_in_the_mlps_output_agree(family):
    model = opened64(family)
    expected = attribution_reference(model, [answer(model)])
    for site in ("act", "up_pre"):
        found = attribution_reference(model, [answer(model)], site=site)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    other = attribution_reference(model, [answer(model)], site="gate_pre")
    assert not torch.allclose(other, expected, rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("family", DENSE)
def test_one_step_at_the_clean_value_is_gradient_times_activation(family):
    model = opened64(family)
    ids, n_prompt = answer(model, n_answer=1)
    found = attribution_reference(model, [(ids, n_prompt)], rule="right", steps=1)
    modules = [site.down for site in model.sites]
    for row, expected in zip(found, gradient_times_value(model.hf, ids, modules), strict=True):
        torch.testing.assert_close(row, expected[0], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "site", "name"),
    [
        ("gpt2", "up_pre", "c_fc"),
        ("falcon", "up_pre", "dense_h_to_4h"),
        ("llama", "up_pre", "up_proj"),
        ("llama", "gate_pre", "gate_proj"),
        ("gemma2", "gate_pre", "gate_proj"),
    ],
)
def test_one_step_before_the_non_linearity_too(family, site, name):
    model = opened64(family)
    ids, n_prompt = answer(model, n_answer=1)
    found = attribution_reference(model, [(ids, n_prompt)], rule="right", steps=1, site=site)
    modules = [getattr(layer.mlp, name) for layer in blocks(model.hf)]
    for row, expected in zip(found, gradient_times_value(model.hf, ids, modules), strict=True):
        torch.testing.assert_close(row, expected[1], rtol=1e-5, atol=1e-9)


def gradient_times_value(hf, ids, modules):
    """Of P(last id), for the input and the output of every module at the token before it."""
    kept = {}
    hooks = [
        module.register_forward_hook(lambda of, args, output: kept.update({of: (args[0], output)}))
        for module in modules
    ]
    p = probability(hf, ids[:-1], ids[-1])
    for hook in hooks:
        hook.remove()
    products = []
    for module in modules:
        gradients = torch.autograd.grad(p, kept[module], retain_graph=True)
        both = zip(kept[module], gradients, strict=True)
        products.append([(v * g).detach().reshape(-1, v.shape[-1])[-1] for v, g in both])
    return products


@pytest.mark.parametrize("family", POST_NORM_FAMILIES)
def test_the_only_point_before_a_post_norm_stands_halfway_through_its_output(family):
    """Where alpha / sqrt(alpha^2 + k^2) is half of its value at 1, k = sqrt(epsilon) / rms."""
    model = opened64(family)
    ids, n_prompt = answer(model, n_answer=1)
    found = attribution_reference(model, [(ids, n_prompt)], steps=1, layers=[1])
    down, epsilon = model.sites[1].down, model.hf.config.rms_norm_eps
    written = []
    with down.register_forward_hook(lambda _, args, output: written.append(output[0, -1])):
        probability(model.hf, ids[:-1], ids[-1])
    k = math.sqrt(epsilon / float(written[0].detach().square().mean()))
    half = 0.5 / math.sqrt(1 + k**2)
    alpha = torch.tensor(k * half / math.sqrt(1 - half**2), dtype=torch.float64, requires_grad=True)

    def scaled(_, args, output):
        return torch.cat([output[:, :-1], alpha * output[:, -1:]], 1)

    with down.register_forward_hook(scaled):
        (slope,) = torch.autograd.grad(probability(model.hf, ids[:-1], ids[-1]), alpha)
    expected = float(slope) * 2 * half * k / (1 - half**2) ** 1.5
    assert float(found.sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_one_step_is_the_down_weights_times_their_gradients_over_one_token(family):
    """sum_d W[d, j] dP/dW[d, j] = z_j dP/dz_j where no other token uses W: experts included."""
    model = opened64(family)
    ids, n_prompt = answer(model)
    prompt, token = ids[n_prompt - 1 : n_prompt], ids[n_prompt]
    found = attribution_reference(model, [([*prompt, token], 1)], rule="right", steps=1)
    assert found.abs().sum(1).all()
    weights = [down_weight(layer) for layer in blocks(model.hf)]
    p = probability(model.hf, prompt, token)
    gradients = torch.autograd.grad(p, [weight for weight, _ in weights])
    for row, (weight, axis), gradient in zip(found, weights, gradients, strict=True):
        expected = (weight * gradient).sum(axis).flatten().detach()
        torch.testing.assert_close(row[: len(expected)], expected, rtol=1e-5, atol=1e-9)
        assert not row[len(expected) :].any()


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "olmo2", "mixtral"])
def test_zeroing_the_top_layer_is_zeroing_its_down_weights(family):
    model = opened64(family)
    ids, n_prompt = answer(model)
    erased = copy.deepcopy(model.hf)
    with torch.no_grad():
        down_weight(blocks(erased)[2])[0].zero_()
        for m in range(2):
            z, token = ids[: n_prompt + m], ids[n_prompt + m]
            expected = float(probability(model.hf, z, token) - probability(erased, z, token))
            found = zeroed_difference(model, ids, n_prompt, m, 2)
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_rules_are_made_of_each_others_points():
    model = opened64("gpt2")

    def scores(rule, steps):
        return attribution_reference(model, [answer(model)], rule=rule, steps=steps, layers=[1])[1]

    at_zero, at_one = scores("left", 1), scores("right", 1)
    same = {"rtol": 1e-9, "atol": 1e-13}
    torch.testing.assert_close(
        scores("right", 4) - scores("left", 4), (at_one - at_zero) / 4, **same
    )
    torch.testing.assert_close(scores("mean", 5) * 5, scores("left", 4) * 4 + at_one, **same)
    torch.testing.assert_close(scores("paper", 5) * 4, scores("mean", 5) * 5, **same)
    torch.testing.assert_close(scores("left", 2) * 2, at_zero + scores("midpoint", 1), **same)
    torch.testing.assert_close(
        scores("midpoint", 200), scores("gauss-legendre", 20), rtol=1e-2, atol=1e-8
    )


def test_targets_choose_and_weigh_the_answers_tokens():
    model = opened64("llama")
    ids, n_prompt = answer(model)
    each = [attribution_reference(model, [(ids[: n_prompt + m + 1], n_prompt + m)]) for m in (0, 1)]
    mean = attribution_reference(model, [(ids, n_prompt)])
    torch.testing.assert_close(mean, (each[0] + each[1]) / 2)
    first = attribution_reference(model, [(ids, n_prompt)], target="first")
    torch.testing.assert_close(first, each[0])
    assert not torch.allclose(mean, first, rtol=1e-2, atol=1e-9)


def test_sum_logprob_is_the_gradient_of_the_answers_log_probability():
    model = opened64("llama")
    ids, n_prompt = answer(model)
    one = {"rule": "right", "steps": 1}
    expected = sum(
        attribution_reference(model, [(ids[: n_prompt + m + 1], n_prompt + m)], **one)
        / probability(model.hf, ids[: n_prompt + m], ids[n_prompt + m]).item()
        for m in (0, 1)
    )
    found = attribution_reference(model, [(ids, n_prompt)], target="sum_logprob", **one)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_samples_are_averaged_and_layers_not_asked_for_stay_zero():
    model = opened64("mistral")
    samples = [answer(model), answer(model, "9-4 = 5", 1)]
    every = sum(attribution_reference(model, [sample]) for sample in samples) / 2
    some = attribution_reference(model, samples, layers=[2])
    torch.testing.assert_close(some[2], every[2])
    assert not some[:2].any()


def test_the_model_is_left_as_it_was_also_after_an_error():
    model = opened64("llama")
    ids, n_prompt = answer(model)
    for outside in ([*ids[:-1], 10_000], [10_000, *ids[1:]]):
        with pytest.raises(IndexError):
            attribution_reference(model, [(outside, n_prompt)])
        with pytest.raises(IndexError):
            zeroed_difference(model, outside, n_prompt, 1, 0)
    assert all(parameter.requires_grad for parameter in model.hf.parameters())
    for module in model.hf.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_what_does_not_exist_is_refused():
    model, experts = opened64("gpt2"), opened64("mixtral")
    for of, options in [
        (model, {"site": "gate_pre"}),
        (model, {"site": "down_out"}),
        (model, {"rule": "simpson"}),
        (model, {"target": "last"}),
        (experts, {"site": "act"}),
    ]:
        with pytest.raises(ValueError, match=next(iter(options.values())).split("_")[0]):
            attribution_reference(of, [answer(of)], **options)
