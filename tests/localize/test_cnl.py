"""CNL says what the slow reference says: of every family, target and site; and it goes on."""

import copy

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError
from brodmann.interventions import erased, scaled
from brodmann.localize import cnl, locate
from brodmann.models.load import wrap_model
from brodmann.models.sites import ExpertSite
from tests.tiny import TINY_FAMILIES, planted_model
from tests.tiny.answers import EXAMPLES, TWO, reference_scores, relative_error, rounding
from tests.tiny.opened import opened

PLAIN = {"method": "cnl", "refine": False}


def scores_of(model, examples=EXAMPLES, **options):
    return locate(model, examples, **(PLAIN | options))


@pytest.mark.parametrize(
    ("family", "dtype"),
    [(family, torch.float64) for family in TINY_FAMILIES]
    + [(f, torch.float32) for f in ("llama", "gpt2", "gemma2", "gptj", "falcon", "qwen3_moe")],
)
def test_equals_the_reference_in_padded_batches(family, dtype):
    model = opened(family, dtype)
    scores = scores_of(model, batch_size=3, steps=4)
    expected = reference_scores(model, EXAMPLES, steps=4)
    assert relative_error(scores.values, expected) < rounding(family, dtype)
    assert scores.values.dtype == dtype
    assert scores.n_samples == len(EXAMPLES)


@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_batches_do_not_matter(batch_size):
    model = opened("gemma2", torch.float64)
    expected = scores_of(model, batch_size=3)
    found = scores_of(model, batch_size=batch_size)
    assert found.provenance["batch_plan"] != expected.provenance["batch_plan"]
    assert relative_error(found.values, expected.values) < 1e-6


@pytest.mark.parametrize("family", ["llama", "gpt2", "olmo2", "qwen3_moe"])
def test_one_step_at_the_end_is_gradient_times_activation(family):
    """Autograd's own: z and dP/dz at the last token, of the model as it is."""
    model = opened(family, torch.float64)
    example = Example("the sum of 7 and 5 =", "1")
    found = scores_of(model, [example], quadrature="right", steps=1).values
    ids = model.tokenizer(example.prompt + example.delimiter + example.answer)["input_ids"]
    kept = {}
    dense = [site for site in model.sites if not isinstance(site, ExpertSite)]
    hooks = [
        site.down.register_forward_pre_hook(lambda _, args, at=site.layer: kept.update({at: args}))
        for site in dense
    ]
    p = model.hf(input_ids=torch.tensor([ids[:-1]])).logits[0, -1].softmax(-1)[ids[-1]]
    for hook in hooks:
        hook.remove()
    for layer, (z,) in kept.items():
        (gradient,) = torch.autograd.grad(p, z, retain_graph=True)
        expected = (z * gradient).detach().reshape(-1, z.shape[-1])[-1]
        assert relative_error(found[layer, : len(expected)], expected) < 1e-6
    assert kept


def test_the_first_token_of_a_text_is_a_prompt_too():
    """Nothing stands in front of it, beside a longer prompt in the same batch."""
    examples = [Example("7", "8", delimiter=""), Example("1+2=", "34", delimiter="")]
    for family in ("phi", "gptj", "falcon", "gpt_neo", "mpt", "olmo3", "qwen3_moe"):
        model = opened(family, torch.float64)
        expected = reference_scores(model, examples)
        found = scores_of(model, examples, batch_size=2).values
        assert relative_error(found, expected) < rounding(family, torch.float64)


def test_one_pass_for_several_groups_equals_one_pass_each():
    model = opened("gemma3_text", torch.float64)
    groups = {"a": EXAMPLES[:2], "b": EXAMPLES[2:]}
    together = cnl(model, groups, refine=False, batch_size=2)
    for name, examples in groups.items():
        alone = scores_of(model, examples, batch_size=1)
        assert relative_error(together[name].values, alone.values) < 1e-6
        assert together[name].provenance["group"] == name


def test_variance_is_that_of_single_samples():
    model = opened("llama", torch.float64)
    scores = scores_of(model)
    singles = torch.stack([scores_of(model, [example]).values for example in EXAMPLES])
    torch.testing.assert_close(scores.variance, singles.var(0), rtol=1e-5, atol=1e-14)


def test_padding_of_narrower_layers_is_zero():
    model = opened("qwen3_moe")
    scores = scores_of(model)
    assert not scores.values[~model.real].any()
    assert scores.values[model.real].any()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "olmo2"])
def test_bfloat16_models_give_float32_scores_near_the_float32_ones(family):
    """Measured: 0.02 to 0.05 of the largest score."""
    exact = scores_of(opened(family)).values
    rough = scores_of(opened(family, torch.bfloat16)).values
    assert rough.dtype == torch.float32
    assert relative_error(rough, exact) < 0.1


def planted_examples(planted):
    return [Example(prompt, answer, delimiter=d) for prompt, d, answer in planted.examples]


@pytest.mark.parametrize("kind", ["gated", "plain", "post_norm"])
def test_planted_neurons_are_found_by_top_k(kind):
    planted = planted_model(kind=kind)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    scores = locate(model, planted_examples(planted), method="cnl")
    assert tuple(scores.top(k=len(planted.planted))) == planted.planted
    assert scores.provenance["completeness_error_max"] < 1e-3


# P is near 1 before the last planted neuron is counted: gated ones below it score a quarter of it,
# and stand six deviations out only among more neurons than DCSN needs.
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("kind", "width"), [("gated", 800), ("plain", 400), ("post_norm", 400)])
def test_planted_neurons_are_found_by_six_sigma(kind, width, scope):
    planted = planted_model(kind=kind, n_neurons=width)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    scores = locate(model, planted_examples(planted), method="cnl")
    assert tuple(scores.select(sigma=6, scope=scope)) == planted.planted


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the program catches it."""


def dying(monkeypatch, after):
    """Let the tails die at a call; the list counts the calls."""
    from brodmann.localize.tails import tail_gradients

    calls = []

    def counted(*args, **options):
        calls.append(1)
        if len(calls) > after:
            raise Killed
        return tail_gradients(*args, **options)

    monkeypatch.setattr("brodmann.localize.integrated.tail_gradients", counted)
    return calls


@pytest.mark.parametrize("family", ["llama", "mixtral", "falcon"])
def test_a_killed_run_goes_on_with_the_same_bits(family, tmp_path, monkeypatch):
    model = opened(family)
    options = {"refine": False, "batch_size": 2, "steps": 4}
    groups = {"a": EXAMPLES, "b": EXAMPLES[::-1]}
    whole = cnl(model, groups, **options)
    path = tmp_path / "state.safetensors"
    monkeypatch.setattr("brodmann.localize.checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        dying(patch, 3)
        cnl(model, groups, checkpoint=path, **options)
    with monkeypatch.context() as patch:
        calls = dying(patch, 100)
        resumed = cnl(model, groups, checkpoint=path, **options)
        in_all = len(calls)
        cnl(model, groups, **options)
    assert 0 < in_all < len(calls) - in_all  # only what was not done before
    for name in groups:
        assert torch.equal(resumed[name].values, whole[name].values)
        assert torch.equal(resumed[name].variance, whole[name].variance)


def test_a_resumed_run_keeps_its_plan_with_more_memory(tmp_path, monkeypatch):
    model = opened("llama")
    path = tmp_path / "state.safetensors"
    little = scores_of(model, memory_gb=1e-4)
    monkeypatch.setattr("brodmann.localize.checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        dying(patch, 8)
        scores_of(model, memory_gb=1e-4, checkpoint=path)
    resumed = scores_of(model, memory_gb=4, checkpoint=path)
    kept = ("answer_tokens_at_once", "scalings_at_once", "batch_plan")
    plenty = scores_of(model, memory_gb=4).provenance
    for key in kept:
        assert resumed.provenance[key] == little.provenance[key] != plenty[key]
    assert torch.equal(resumed.values, little.values)


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    model = opened("llama")
    path = tmp_path / "state.safetensors"
    scores_of(model, TWO, steps=2, checkpoint=path)
    others = [{"steps": 3}, {"quadrature": "left"}, {"site": "gate_pre"}, {"target": "first"}]
    others += [{"examples": TWO[::-1]}, {"refine": True}, {"method": "kn", "refine": None}]
    for other in others:
        options = PLAIN | {"examples": TWO, "steps": 2} | other
        if options["refine"] is None:
            del options["refine"]
        with pytest.raises(InputError, match="another model, data, options"):
            locate(model, options.pop("examples"), checkpoint=path, **options)
    with pytest.raises(InputError, match="another model, data, options"):
        scores_of(opened("llama", seed=1), TWO, steps=2, checkpoint=path)


def scaled_columns(model, neurons, by):
    """The model with the neurons' columns of W_down multiplied, in a copy."""
    other = wrap_model(copy.deepcopy(model.hf), model.tokenizer, name="baked")
    for layer, neuron in neurons:
        site = other.sites[layer]
        if isinstance(site, ExpertSite):
            expert, inside = divmod(neuron, site.width)
            site.experts.down_proj.data[expert][:, inside] *= by
        elif type(site.down).__name__ == "Conv1D":
            site.down.weight.data[neuron] *= by
        else:
            site.down.weight.data[:, neuron] *= by
    return other


@pytest.mark.parametrize(
    ("family", "site"),
    [(f, "down_in") for f in ("llama", "gpt2", "gemma3_text", "mixtral", "falcon", "gptj")]
    + [("llama", "gate_pre"), ("gpt2", "up_pre")],
)
def test_an_erased_model_is_seen_as_it_is_without_the_neurons(family, site):
    model = opened(family, torch.float64)
    chosen = locate(model, EXAMPLES).top(k=30)
    with erased(model, chosen):
        found = scores_of(model, site=site).values
    expected = scores_of(scaled_columns(model, chosen, 0.0), site=site).values
    assert relative_error(found, expected) < 1e-6
    assert not found[chosen.mask].any()
    assert relative_error(scores_of(model, site=site).values, expected) > 1e-2


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_a_scaled_model_is_seen_as_it_is(family):
    model = opened(family, torch.float64)
    chosen = locate(model, EXAMPLES).top(k=30)
    with scaled(model, chosen, by=2.0):
        found = scores_of(model).values
    expected = scores_of(scaled_columns(model, chosen, 2.0)).values
    assert relative_error(found, expected) < 1e-6


def test_bad_input_is_refused_in_one_line():
    model, plain, experts = opened("llama"), opened("gpt2"), opened("mixtral")
    for of, options, named in [
        (model, {"site": "down_out"}, "'down_out'"),
        (model, {"quadrature": "simpson"}, "'simpson'"),
        (model, {"target": "last"}, "'last'"),
        (model, {"steps": 0}, "got 0"),
        (model, {"steps": -1}, "got -1"),
        (model, {"steps": 1, "quadrature": "paper"}, "got 1"),
        (model, {"memory_gb": 0}, "got 0"),
        (model, {"batch_size": 0}, "got 0"),
        (model, {"chat_template": "on"}, "'on'"),
        (plain, {"site": "gate_pre"}, "'up_pre'"),
        (experts, {"site": "act"}, "'down_in'"),
        (experts, {"site": "gate_pre"}, "'down_in'"),
    ]:
        with pytest.raises(InputError, match=named) as caught:
            scores_of(of, TWO, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="none"):
        scores_of(model, [])
    with pytest.raises(InputError, match="none"):
        cnl(model, {})
