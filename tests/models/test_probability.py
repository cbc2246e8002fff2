"""Log P of a token and its gradient are what autograd says through Hugging Face's own head."""

import pytest
import torch

from brodmann.models import probability
from brodmann.models.logits import final_norm_module
from brodmann.models.probability import token_log_probability
from tests.tiny.opened import opened

FAMILIES = ["llama", "phi", "gptj", "cohere", "granite", "gemma2", "gemma", "opt"]
"""A plain head, biases, factors on the logits, a soft-cap, tied weights."""


def through_the_head(model, normed, tokens):
    """Hugging Face's logits, with these vectors in place of what its final norm gives."""
    leaf = normed.clone().requires_grad_()
    hook = final_norm_module(model).register_forward_hook(lambda *_: leaf[None])
    logits = model.hf(input_ids=torch.zeros(1, len(normed), dtype=torch.long)).logits[0]
    hook.remove()
    log_p = logits.to(model.score_dtype).log_softmax(-1)[torch.arange(len(normed)), tokens]
    (gradient,) = torch.autograd.grad(log_p.sum(), leaf)
    return log_p.detach(), gradient


def rows(model, n=11, size=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normed = size * torch.randn(n, model.width, generator=generator, dtype=torch.float64)
    tokens = torch.randint(model.head.weight.shape[0], (n,), generator=generator)
    tokens[0], tokens[1] = 0, model.head.weight.shape[0] - 1
    return normed.to(model.dtype), tokens


@pytest.mark.parametrize("tile", [1, 7, 50, "all but one", "all", 2048])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_autograd_through_the_head(family, tile, monkeypatch):
    model = opened(family, torch.float64)
    vocabulary = model.head.weight.shape[0]
    tile = {"all": vocabulary, "all but one": vocabulary - 1}.get(tile, tile)
    monkeypatch.setattr(probability, "TILE", tile)
    normed, tokens = rows(model)
    log_p, gradient = token_log_probability(model, normed, tokens)
    expected, expected_gradient = through_the_head(model, normed, tokens)
    assert log_p.dtype == gradient.dtype == torch.float64
    torch.testing.assert_close(log_p, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-11, atol=1e-12)


def test_it_is_every_tokens_probability():
    model = opened("gemma2", torch.float64)
    vocabulary = model.head.weight.shape[0]
    normed = rows(model)[0][:1]
    log_p, gradient = token_log_probability(
        model, normed.expand(vocabulary, -1), torch.arange(vocabulary)
    )
    assert float(log_p.exp().sum()) == pytest.approx(1, rel=1e-12)
    mean = (log_p.exp()[:, None] * gradient).sum(0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [9, 2048])
@pytest.mark.parametrize("family", ["llama", "phi", "gemma2"])
def test_hopeless_and_certain_tokens_stay_finite(family, tile, monkeypatch):
    monkeypatch.setattr(probability, "TILE", tile)
    model = opened(family)
    normed, tokens = rows(model, size=400.0)
    log_p, gradient = token_log_probability(model, normed, tokens)
    expected, expected_gradient = through_the_head(model, normed, tokens)
    assert family == "gemma2" or expected.min() < -200
    torch.testing.assert_close(log_p, expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)]
)
@pytest.mark.parametrize("family", ["llama", "cohere", "gemma2"])
def test_other_types_are_near_float64(family, dtype, limit, monkeypatch):
    monkeypatch.setattr(probability, "TILE", 50)
    model, exact = opened(family, dtype), opened(family, torch.float64)
    normed, tokens = rows(model)
    log_p, gradient = token_log_probability(model, normed, tokens)
    assert log_p.dtype == gradient.dtype == torch.float32
    expected, expected_gradient = through_the_head(exact, normed.double(), tokens)
    for one, other in ((log_p, expected), (gradient, expected_gradient)):
        assert float((one.double() - other).abs().max() / other.abs().max()) < limit


def test_no_rows_give_nothing():
    model = opened("llama")
    log_p, gradient = token_log_probability(
        model, torch.empty(0, model.width), torch.empty(0, dtype=torch.long)
    )
    assert log_p.shape == (0,)
    assert gradient.shape == (0, model.width)


def test_nothing_of_the_model_or_its_input_changes():
    model = opened("cohere")
    normed, tokens = rows(model)
    kept, weight = normed.clone(), model.head.weight.detach().clone()
    token_log_probability(model, normed, tokens)
    assert torch.equal(normed, kept)
    assert torch.equal(model.head.weight, weight)
    assert model.head.weight.grad is None
