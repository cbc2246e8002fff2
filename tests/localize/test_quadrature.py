"""Rules of the integral: exact where they must be, the reference's on models, and complete."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brodmann.errors import InputError
from brodmann.interventions import erased
from brodmann.localize import locate
from brodmann.localize.completeness import differences
from brodmann.localize.paths import PATHS, right_path
from brodmann.localize.quadrature import RULES, norm_nodes, quadrature_nodes, sinh_nodes
from brodmann.localize.room import Room
from brodmann.models.prefix import read_prefix
from brodmann.neurons import NeuronSet
from tests.reference.attribution import zeroed_difference
from tests.tiny import MOE_FAMILIES, POST_NORM_FAMILIES, TINY_FAMILIES
from tests.tiny.answers import EXAMPLES, TWO, reference_scores, relative_error, rounding, tokens_of
from tests.tiny.opened import opened


@pytest.mark.parametrize(
    ("rule", "steps", "places", "weights"),
    [
        ("left", 4, [0, 0.25, 0.5, 0.75], [0.25] * 4),
        ("right", 4, [0.25, 0.5, 0.75, 1], [0.25] * 4),
        ("right", 1, [1], [1]),
        ("midpoint", 2, [0.25, 0.75], [0.5] * 2),
        ("mean", 3, [0, 0.5, 1], [1 / 3] * 3),
        ("paper", 3, [0, 0.5, 1], [0.5] * 3),
        ("paper", 2, [0, 1], [1, 1]),
        ("gauss-legendre", 1, [0.5], [1]),
        ("gauss-legendre", 2, [0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3)], [0.5] * 2),
    ],
)
def test_rules_are_as_they_are_written(rule, steps, places, weights):
    found = quadrature_nodes(rule, steps)
    for given_, expected in zip(found, (places, weights), strict=True):
        torch.testing.assert_close(given_, torch.tensor(expected, dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(
    steps=st.integers(2, 30),
    coefficients=st.lists(st.floats(-10, 10), min_size=1, max_size=60),
)
def test_gauss_legendre_integrates_polynomials_exactly(steps, coefficients):
    """Up to the degree 2 * steps - 1."""
    polynomial = np.polynomial.Polynomial(coefficients[: 2 * steps])
    places, weights = (part.numpy() for part in quadrature_nodes("gauss-legendre", steps))
    exact = polynomial.integ()(1) - polynomial.integ()(0)
    assert (weights * polynomial(places)).sum() == pytest.approx(exact, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [2, 5, 20])
def test_weights_add_up_to_one_but_the_papers_to_more(rule, steps):
    places, weights = quadrature_nodes(rule, steps)
    expected = steps / (steps - 1) if rule == "paper" else 1
    assert float(weights.sum()) == pytest.approx(expected)
    assert len(places) == steps
    assert places.min() >= 0
    assert places.max() <= 1


@settings(max_examples=100, deadline=None)
@given(c=st.floats(1e-8, 1e3), power=st.integers(0, 6))
def test_norm_nodes_integrate_what_happens_in_the_norm(c, power):
    """With s = a / sqrt(a^2 + c^2): the integral of s^power * ds/da is s(1)^(power+1)/(power+1)."""
    nodes = quadrature_nodes("gauss-legendre", 6)
    (alphas,), (weights,) = norm_nodes(*nodes, torch.tensor([1 / c]))
    s = alphas / (alphas**2 + c**2).sqrt()
    slope = c**2 / (alphas**2 + c**2) ** 1.5
    found = float((weights * s**power * slope).sum())
    expected = (1 + c**2) ** (-(power + 1) / 2) / (power + 1)
    assert found == pytest.approx(expected, rel=1e-6)
    assert (alphas >= 0).all()
    assert (alphas <= 1).all()


def test_norm_nodes_are_the_plain_ones_where_the_norm_changes_little():
    places, weights = quadrature_nodes("gauss-legendre", 5)
    for move in (norm_nodes, sinh_nodes):
        for ratio in (0.0, 1e-6):
            moved = move(places, weights, torch.tensor([ratio]))
            torch.testing.assert_close(moved[0][0], places)
            torch.testing.assert_close(moved[1][0], weights)


def test_sinh_nodes_integrate_polynomials_in_the_magnitude():
    """Of asinh(q a) / asinh(q) = p: the integral of p^power dp is 1 / (power + 1)."""
    nodes = quadrature_nodes("gauss-legendre", 6)
    for ratio in (0.1, 10.0, 1e4):
        (alphas,), (weights,) = sinh_nodes(*nodes, torch.tensor([ratio]))
        end = math.asinh(ratio)
        slope = ratio / (end * (1 + (ratio * alphas) ** 2).sqrt())
        found = (weights * ((ratio * alphas).asinh() / end) ** 5 * slope).sum()
        assert float(found) == pytest.approx(1 / 6, rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "mixtral", *POST_NORM_FAMILIES])
def test_a_layer_that_writes_nothing_scores_zero(family):
    model = opened(family)
    mask = torch.zeros_like(model.real)
    mask[1] = model.real[1]
    layer = NeuronSet.from_mask(mask, model.real, {"fingerprint": model.fingerprint})
    with erased(model, layer):
        values = locate(model, TWO, method="cnl", refine=False, steps=4).values
    assert not values[1].any()
    assert values[0].any()


def test_impossible_rules_are_refused_in_one_line():
    for rule, steps, named in [
        ("simpson", 5, "simpson"),
        ("gauss-legendre", 0, "got 0"),
        ("left", -3, "got -3"),
        ("paper", 1, "2 or more"),
    ]:
        with pytest.raises(InputError, match=named) as caught:
            quadrature_nodes(rule, steps)
        assert "\n" not in str(caught.value)


SITES = {
    "llama": ("down_in", "act", "up_pre", "gate_pre"),
    "gemma3_text": ("down_in", "act", "up_pre", "gate_pre"),
    "phi3": ("down_in", "act", "up_pre", "gate_pre"),
    "glm4": ("down_in", "act", "up_pre", "gate_pre"),
    "gpt2": ("down_in", "act", "up_pre"),
    "opt": ("down_in", "act", "up_pre"),
}
PLACES = [(family, site) for family, sites in SITES.items() for site in sites]
ENDS = [(family, sites[end]) for family, sites in SITES.items() for end in (0, -1)]
"""The neurons themselves, and what comes in front of the non-linearity: all others are linear."""

STEPS = {"gauss-legendre": 3, "midpoint": 3, "left": 4, "right": 1, "mean": 3, "paper": 2}
"""Few, which is where rules differ most."""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("family", "site"), ENDS)
def test_every_site_by_every_rule_equals_the_reference(family, site, rule):
    model = opened(family, torch.float64)
    steps = STEPS[rule]
    expected = reference_scores(model, TWO, site=site, rule=rule, steps=steps)
    found = locate(model, TWO, method="cnl", refine=False, site=site, quadrature=rule, steps=steps)
    assert relative_error(found.values, expected) < rounding(family, torch.float64)


@pytest.mark.parametrize("target", ["first", "sum_logprob"])
@pytest.mark.parametrize(("family", "site"), PLACES)
def test_every_site_for_every_target_equals_the_reference(family, site, target):
    model = opened(family, torch.float64)
    expected = reference_scores(model, TWO, site=site, target=target, steps=3)
    found = locate(model, TWO, method="cnl", refine=False, site=site, target=target, steps=3)
    assert relative_error(found.values, expected) < rounding(family, torch.float64)


# A ReLU bends P at places that no smooth rule knows (opt; nemotron's, squared, meets a residual
# stream that it outweighs by far), and P jumps where a router above changes its mind.
SMOOTH = [family for family in TINY_FAMILIES if family not in ("opt", "nemotron", *MOE_FAMILIES)]


@pytest.mark.parametrize("family", SMOOTH)
def test_refined_scores_of_smooth_families_are_complete(family):
    told = locate(opened(family), EXAMPLES, method="cnl").provenance
    assert told["completeness_error_max"] < 1e-3
    assert told["completeness_error_median"] < 1e-5
    assert max(told["completeness_error_max_by_layer"]) == told["completeness_error_max"]


def in_one_batch(family, dtype=torch.float32, examples=EXAMPLES, **options):
    """Where nothing is refined, completeness is told of the first batch."""
    model = opened(family, dtype)
    return locate(model, examples, method="cnl", batch_size=len(examples), **options)


def largest_error(*args, **options):
    return in_one_batch(*args, **options).provenance["completeness_error_max"]


@pytest.mark.parametrize("family", ["opt", "nemotron"])
def test_refining_helps_where_a_relu_bends(family):
    assert largest_error(family, refine=True) < largest_error(family, refine=False) / 10


@pytest.mark.parametrize("family", ["gpt2", "stablelm", "gemma3_text", "falcon"])
def test_completeness_errors_shrink_with_steps(family):
    errors = [
        largest_error(family, torch.float64, refine=False, steps=steps) for steps in (3, 6, 12, 24)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5 < 1e-2 < errors[0]


def test_unrefined_completeness_is_told_of_the_first_batch():
    longest = max(EXAMPLES, key=lambda example: len(example.prompt + example.answer))
    alone = largest_error("llama", examples=[longest], refine=False, steps=3)
    model = opened("llama")
    several = locate(model, EXAMPLES, method="cnl", batch_size=1, refine=False, steps=3)
    assert several.provenance["completeness_error_max"] == pytest.approx(alone, rel=1e-3)
    assert largest_error("llama", refine=False, steps=3) > 1.1 * alone


def test_only_what_misses_is_taken_again():
    """Of qwen3's layers some integrals of the lowest miss with 20 steps."""
    coarse, fine = (in_one_batch("qwen3", refine=refine) for refine in (False, True))
    missed = [e > 1e-3 for e in coarse.provenance["completeness_error_max_by_layer"]]
    assert any(missed)
    assert not all(missed)
    for layer, again in enumerate(missed):
        assert torch.equal(fine.values[layer], coarse.values[layer]) != again
    finest = reference_scores(opened("qwen3"), EXAMPLES, steps=200)
    assert relative_error(fine.values, finest) < 1e-4


@pytest.mark.parametrize(
    ("family", "rule"), [("qwen3", "midpoint"), ("qwen3", "left"), ("mixtral", "gauss-legendre")]
)
def test_other_rules_and_experts_stay_as_they_are(family, rule):
    coarse, fine = (
        in_one_batch(family, examples=TWO, refine=refine, quadrature=rule, steps=4)
        for refine in (False, True)
    )
    assert coarse.provenance["completeness_error_max"] > 1e-3
    assert torch.equal(coarse.values, fine.values)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mixtral", "qwen3_moe", "mpt"])
def test_differences_are_those_of_the_model_with_a_layer_zeroed(family):
    model = opened(family, torch.float64)
    (ids, n_prompt), (longer, n_longer) = tokens_of(model, TWO)
    places = [(ids, n_prompt, 0)] + [(longer, n_longer, m) for m in range(len(longer) - n_longer)]
    owners = torch.tensor([0] + [1] * (len(places) - 1))
    positions = torch.tensor([start + m - 1 for _, start, m in places])
    targets = torch.tensor([text[start + m] for text, start, m in places])
    prefix = read_prefix(model, [ids[:-1], longer[:-1]], owners, positions)
    path, room = PATHS[right_path(model, prefix)], Room(2, 1)
    expected = torch.tensor(
        [[zeroed_difference(model, *place, layer) for layer in range(3)] for place in places],
        dtype=torch.float64,
    )
    found, unit = differences(model, prefix, targets, path, room, logarithm=False)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-10)
    in_logs, _ = differences(model, prefix, targets, path, room, logarithm=True)
    logits = [model.hf(input_ids=torch.tensor([text[: s + m]])).logits for text, s, m in places]
    full = torch.stack([row[0, -1].softmax(-1)[t] for row, t in zip(logits, targets, strict=True)])[
        :, None
    ].detach()
    torch.testing.assert_close(in_logs, full.log() - (full - expected).log(), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(unit, full.clamp_min(1e-3), rtol=1e-6, atol=0)
