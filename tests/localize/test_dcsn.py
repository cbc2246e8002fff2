import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError, UnknownNameError
from brodmann.localize import dcsn, locate
from brodmann.models.load import wrap_model
from brodmann.models.tokens import tokenise_answers
from tests.reference.dcsn import dcsn_reference
from tests.tiny import FLOAT32_INSIDE, TINY_FAMILIES, planted_model
from tests.tiny.opened import opened

EXAMPLES = [
    Example("1+2=", "3", delimiter=""),
    Example("a much longer prompt, 12-7=", "5", delimiter=""),
    Example("2*3 is", "6"),
    Example("the sum of 7 and 5 =", "12"),
    Example("9-4=", "5", delimiter=""),
]


def reference_readings(model, examples):
    texts = [(e.prompt, e.delimiter, e.answer) for e in examples]
    answers = tokenise_answers(model, texts)
    return [(list(a.ids[: a.n_prompt]), a.ids[a.n_prompt]) for a in answers]


def relative_error(given, expected):
    return float((given.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_the_reference_in_padded_batches(family, batch_size):
    model = opened(family)
    scores = locate(model, EXAMPLES, batch_size=batch_size)
    expected = dcsn_reference(model, reference_readings(model, EXAMPLES))
    assert relative_error(scores.values, expected) < 1e-4
    assert scores.n_samples == len(EXAMPLES)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_the_reference_in_float64(family):
    model = opened(family, torch.float64)
    scores = locate(model, EXAMPLES, batch_size=5)
    expected = dcsn_reference(model, reference_readings(model, EXAMPLES))
    assert scores.values.dtype == torch.float64
    limit = 1e-6 if family in FLOAT32_INSIDE else 1e-10
    assert relative_error(scores.values, expected) < limit


@pytest.mark.parametrize("family", ["llama", "gpt2", "olmo2", "mixtral"])
def test_without_folding_equals_the_raw_product(family):
    model = opened(family)
    scores = locate(model, EXAMPLES, fold_norm=False)
    expected = dcsn_reference(model, reference_readings(model, EXAMPLES), fold_norm=False)
    assert relative_error(scores.values, expected) < 1e-4


def test_variance_is_that_of_single_samples():
    model = opened("llama")
    scores = locate(model, EXAMPLES)
    singles = torch.stack([locate(model, [example]).values for example in EXAMPLES]).double()
    torch.testing.assert_close(scores.variance.double(), singles.var(0), rtol=1e-3, atol=1e-9)


def test_one_pass_for_several_groups_equals_one_pass_each():
    model = opened("gemma3_text")
    groups = {"a": EXAMPLES[:2], "b": EXAMPLES[2:]}
    together = dcsn(model, groups, batch_size=2)
    for name, examples in groups.items():
        alone = locate(model, examples, batch_size=1)
        torch.testing.assert_close(together[name].values, alone.values, rtol=1e-4, atol=1e-6)


def test_mean_target_averages_over_the_answers_tokens():
    model = opened("llama")
    example = Example("7*3=", "21", delimiter="")
    first = locate(model, [example]).values
    second = locate(model, [Example("7*3=2", "1", delimiter="")]).values
    both = locate(model, [example], target="mean").values
    torch.testing.assert_close(both, (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_padding_of_narrower_layers_is_zero_and_never_selected():
    model = opened("qwen3_moe")
    scores = locate(model, EXAMPLES)
    assert not scores.values[~model.real].any()
    assert scores.top(k=model.n_neurons_total).mask.equal(model.real)


def test_activation_site_reads_the_non_linearity():
    plain = opened("gpt2")
    assert torch.equal(locate(plain, EXAMPLES, site="act").values, locate(plain, EXAMPLES).values)
    gated = opened("llama")
    assert not torch.allclose(
        locate(gated, EXAMPLES, site="act").values, locate(gated, EXAMPLES).values
    )


@pytest.mark.parametrize("kind", ["gated", "plain", "post_norm"])
def test_planted_neurons_are_found_by_top_k(kind):
    planted = planted_model(kind=kind)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    examples = [Example(p, a, delimiter=d) for p, d, a in planted.examples]
    found = locate(model, examples).top(k=len(planted.planted))
    assert tuple(found) == planted.planted


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("kind", ["gated", "plain", "post_norm"])
def test_planted_neurons_are_found_by_six_sigma(kind, scope):
    planted = planted_model(kind=kind, n_neurons=400)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    examples = [Example(p, a, delimiter=d) for p, d, a in planted.examples]
    found = locate(model, examples).select(sigma=6, scope=scope)
    assert tuple(found) == planted.planted


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the program catches it."""


def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    model = opened("llama")
    groups = {"a": EXAMPLES, "b": EXAMPLES[::-1]}
    whole = dcsn(model, groups, batch_size=2)
    path = tmp_path / "state.safetensors"
    passes = []
    forward = type(model.hf.model).forward

    def dying(self, *args, **kwargs):
        passes.append(1)
        if len(passes) == 4:
            raise Killed
        return forward(self, *args, **kwargs)

    monkeypatch.setattr("brodmann.localize.checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(type(model.hf.model), "forward", dying)
        with pytest.raises(Killed):
            dcsn(model, groups, batch_size=2, checkpoint=path)
    passes.clear()
    with monkeypatch.context() as patch:
        patch.setattr(type(model.hf.model), "forward", dying)
        resumed = dcsn(model, groups, batch_size=2, checkpoint=path)
    assert len(passes) == 2  # five batches, three of them done before
    for name in groups:
        assert torch.equal(resumed[name].values, whole[name].values)
        assert torch.equal(resumed[name].variance, whole[name].variance)


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    model = opened("llama")
    path = tmp_path / "state.safetensors"
    dcsn(model, {"a": EXAMPLES}, checkpoint=path)
    with pytest.raises(InputError, match="another model, data, options"):
        dcsn(model, {"a": EXAMPLES[:3]}, checkpoint=path)


def test_bad_input_is_refused_in_one_line():
    model = opened("llama")
    for call, error in [
        (lambda: locate(model, []), DataError),
        (lambda: locate(model, EXAMPLES, method="dscn"), UnknownNameError),
        (lambda: locate(model, EXAMPLES, target="last"), InputError),
        (lambda: locate(model, EXAMPLES, site="gate_pre"), InputError),
        (lambda: locate(opened("mixtral"), EXAMPLES, site="act"), InputError),
        (lambda: dcsn(model, {}), InputError),
    ]:
        with pytest.raises(error) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_bfloat16_models_give_float32_scores_near_the_float32_ones():
    exact = locate(opened("llama"), EXAMPLES).values
    rough = locate(opened("llama", torch.bfloat16), EXAMPLES).values
    assert rough.dtype == torch.float32
    assert relative_error(rough, exact.double()) < 0.1
