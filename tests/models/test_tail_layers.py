"""Tails through the model's own layers: the right path, windows, and a model left as it was."""

import copy
import dataclasses

import accelerate
import pytest
import torch

from brodmann.data import Example
from brodmann.localize import locate
from brodmann.localize.integrated import Integral, integrated_gradients
from brodmann.localize.room import Room
from brodmann.localize.tails import rerun, staircase
from brodmann.models.driven_attention import drives
from brodmann.models.load import wrap_model
from brodmann.models.prefix import read_prefix
from brodmann.models.tail_layers import tail_layers
from tests.reference.attribution import attribution_reference
from tests.tiny import TINY_FAMILIES
from tests.tiny.answers import EXAMPLES, TWO, relative_error, rounding, tokens_of
from tests.tiny.families import FAMILIES
from tests.tiny.opened import opened

OPAQUE = ("gpt_neo", "bloom", "falcon", "falcon_new", "mpt")
DRIVEN = [family for family in TINY_FAMILIES if family not in OPAQUE]


def scores_of(model, examples=TWO, **options):
    return locate(model, examples, method="cnl", **({"refine": False, "steps": 4} | options))


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_the_staircase_runs_wherever_attention_can_be_driven(family):
    model = opened(family)
    expected = "expanded cache" if family in OPAQUE else "staircase"
    assert scores_of(model, TWO[:1], steps=1).provenance["path"] == expected
    assert drives(model) == (family not in OPAQUE)


def prefix_of(model, examples=EXAMPLES, site="down_in"):
    """All answer tokens of some examples in one padded batch, and their ids."""
    answers = tokens_of(model, examples)
    places = [
        (row, position, ids[position + 1])
        for row, (ids, n_prompt) in enumerate(answers)
        for position in range(n_prompt - 1, len(ids) - 1)
    ]
    owners, positions, targets = torch.tensor(places).T
    return read_prefix(model, [ids[:-1] for ids, _ in answers], owners, positions, site), targets


@pytest.mark.parametrize("family", DRIVEN)
def test_a_layer_makes_of_a_tail_what_it_made_of_the_token(family):
    model = opened(family, torch.float64)
    prefix, targets = prefix_of(model)
    tasks = torch.arange(len(targets)).flip(0)[::2]
    with torch.no_grad(), tail_layers(model, prefix, tasks) as run:
        for layer in range(1, model.n_layers):
            below, above = (prefix.calls[at].output[tasks][:, None] for at in (layer - 1, layer))
            found = run(layer, below.expand(-1, 3, -1))
            assert relative_error(found, above.expand(-1, 3, -1)) < rounding(family, torch.float64)


@pytest.mark.parametrize(
    ("family", "site"),
    [(f, "down_in") for f in ("llama", "mistral", "gemma2", "gptj", "opt", "phi3", "mixtral")]
    + [("llama", "gate_pre"), ("gpt2", "up_pre")],
)
def test_both_paths_agree(family, site):
    model = opened(family, torch.float64)
    integral = Integral.of(model, site, "gauss-legendre", 3, logarithm=False)
    prefix, targets = prefix_of(model, EXAMPLES[1:4], integral.captured)
    tasks = torch.arange(len(targets))
    fast, slow = (
        integrated_gradients(model, prefix, tasks, targets, integral, path, Room(3, 3))
        for path in (staircase, rerun)
    )
    for layer in range(model.n_layers):
        error = relative_error(fast[layer], slow[layer])
        assert error < 5 * rounding(family, torch.float64)


@pytest.mark.parametrize(
    ("family", "attention"), [("llama", "method"), ("gpt2", "method"), ("falcon", "interface")]
)
def test_what_does_not_reproduce_the_model_is_not_used(family, attention):
    """A row that is wrong about how the family's attention is driven costs time, not truth."""
    model = opened(family, torch.float64)
    expected = scores_of(model).values
    model.architecture = dataclasses.replace(model.architecture, attention=attention)
    found = scores_of(model)
    assert found.provenance["path"] == "expanded cache"
    assert relative_error(found.values, expected) < 1e-6


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_eager_attention_is_driven_too(family):
    model = opened(family, torch.float64)
    expected = scores_of(model)
    model.hf.set_attn_implementation("eager")
    found = scores_of(model)
    assert relative_error(found.values, expected.values) < 1e-6
    assert found.provenance["path"] == "staircase"
    assert model.hf.config._attn_implementation == "eager"


WINDOWED = [
    family
    for family, built in FAMILIES.items()
    if {"sliding_window", "window_size"} & built.config.keys()
]


@pytest.mark.parametrize("family", WINDOWED)
def test_windows_shorter_than_the_text_equal_the_reference(family):
    """Windows of 6 tokens, 45 tokens of prompt, five answer tokens, beside a text within one."""
    model = opened(family, torch.float64)
    long = Example("a prompt that is seven windows of tokens long", "12-34", delimiter="=")
    examples = [long, Example("1", "2", delimiter="+"), Example("9-4=", "5", delimiter="")]
    answers = tokens_of(model, examples)
    assert len(answers[0][0]) > 30
    assert len(answers[0][0]) - answers[0][1] >= 4
    found = scores_of(model, examples, steps=3, batch_size=3)
    expected = attribution_reference(model, answers, steps=3)
    assert relative_error(found.values, expected) < rounding(family, torch.float64)


def test_there_are_families_with_windows():
    assert {"mistral", "gemma2", "gemma3_text", "cohere2", "olmo3", "phi3"} <= set(WINDOWED)


def state_of(model):
    """Everything about a model that a run might leave behind; parameters as they are."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    config = model.hf.config
    return {
        "parameters": {name: p.detach().clone() for name, p in model.hf.named_parameters()},
        "requires_grad": [p.requires_grad for p in model.hf.parameters()],
        "gradients": [p.grad for p in model.hf.parameters()],
        "hooks": [len(getattr(m, name)) for m in model.hf.modules() for name in hooks],
        "attributes": [sorted(vars(module)) for module in model.hf.modules()],
        "attention": (config._attn_implementation, model.decoder.config._attn_implementation),
        "experts": getattr(config, "_experts_implementation", None),
        "training": [module.training for module in model.hf.modules()],
    }


def assert_same(one, other):
    parameters = one.pop("parameters"), other.pop("parameters")
    assert one == other
    for name, parameter in parameters[0].items():
        assert torch.equal(parameter, parameters[1][name])


class Broken(Exception):
    """What a user's own hook raises."""


TOUCHED = ["llama", "gptj", "gpt2", "gemma2", "mixtral", "falcon", "mpt"]


@pytest.mark.parametrize(
    ("family", "site"),
    [(family, "down_in") for family in TOUCHED] + [(f, "up_pre") for f in ("gptj", "gpt2", "mpt")],
)
def test_a_model_is_bit_identical_afterwards(family, site):
    model = opened(family)
    frozen = list(model.hf.parameters())[::2]
    for parameter in frozen:
        parameter.requires_grad_(False)
    before = state_of(model)
    scores_of(model, site=site, refine=True)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("family", TOUCHED)
def test_a_model_is_bit_identical_after_an_exception_anywhere(family):
    model = opened(family)
    next(model.hf.parameters()).requires_grad_(False)
    before, last = state_of(model), model.sites[-1].layer_module
    for breaks_at in (1, 2, 3, 4, 5, 7, 10):
        left = iter(range(breaks_at - 1))

        def breaks(*_, left=left):
            if next(left, None) is None:
                raise Broken

        hook = last.register_forward_pre_hook(breaks)
        with pytest.raises(Broken):
            scores_of(model, memory_gb=1e-5)
        hook.remove()
        assert next(left, None) is None
        assert_same(dict(before), state_of(model))


@pytest.mark.parametrize("family", ["llama", "falcon"])
def test_gradients_need_not_be_switched_on(family):
    model = opened(family)
    expected = scores_of(model).values
    with torch.no_grad():
        assert torch.equal(scores_of(model).values, expected)


def offloaded(family, folder):
    """A model whose layers 0 and 2 live on disk: outside of their forward they are on meta."""
    model = opened(family)
    hf = copy.deepcopy(model.hf)
    names = {name.rsplit(".", 1)[0] for name, _ in hf.named_parameters(remove_duplicate=False)}
    inside = [f".{part}.{layer}." for part in ("layers", "h", "blocks") for layer in (0, 2)]
    places = {
        name: "disk" if any(part in f".{name}." for part in inside) else "cpu" for name in names
    }
    return model, accelerate.dispatch_model(hf, places, main_device="cpu", offload_dir=folder)


@pytest.mark.parametrize(
    ("family", "site"),
    [
        ("llama", "down_in"),
        ("llama", "gate_pre"),
        ("gemma3_text", "down_in"),
        ("mpt", "down_in"),
        ("gpt2", "down_in"),
        ("opt", "down_in"),
        ("mixtral", "down_in"),
    ],
)
def test_layers_on_disk_give_the_same_scores(family, site, tmp_path):
    model, hf = offloaded(family, tmp_path)
    assert {parameter.device.type for parameter in hf.parameters()} == {"cpu", "meta"}
    there = wrap_model(hf, model.tokenizer, name="offloaded")
    found, expected = scores_of(there, site=site), scores_of(model, site=site)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-6, atol=1e-10)
    assert found.provenance["path"] == expected.provenance["path"]


def test_a_model_that_lives_off_its_device_entirely_gives_the_same_scores():
    model = opened("llama")
    hf = copy.deepcopy(model.hf)
    accelerate.cpu_offload(hf, torch.device("cpu"))
    there = wrap_model(hf, model.tokenizer, name="offloaded")
    assert torch.equal(scores_of(there).values, scores_of(model).values)
