"""An adapter from a folder, used inside `with` and gone afterwards."""

import shutil

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, VBLoRAConfig, get_peft_model
from safetensors.torch import load_file, save_file

from brodmann import locate
from brodmann.data import Example
from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.interventions import erased
from brodmann.models.load import wrap_model
from brodmann.tuning import adapted
from brodmann.tuning.lora import prepare_lora
from brodmann.tuning.olora import prepare_olora
from tests.tuning.baselines import saved_adapter, step
from tests.tuning.neurons import assert_bits, bits, fresh, logits, some_neurons, tuned

EXAMPLES = [Example("1+2=", "3", delimiter=""), Example("a sum: 12-7=", "5", delimiter="")]


def saved(family, folder, **options):
    """A folder with an adapter of a family's tiny model, and the model with it."""
    model = fresh(family)
    peft_model = tuned(model, some_neurons(model), **options)
    peft_model.save_pretrained(folder)
    return peft_model


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "mixtral"])
def test_inside_the_block_it_is_the_tuned_model_and_afterwards_the_base(family, tmp_path):
    expected = logits(saved(family, tmp_path))
    model = fresh(family)
    before, plain = bits(model.hf), logits(model.hf)
    learning = {name: p.requires_grad for name, p in model.hf.named_parameters()}
    with adapted(model, tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), expected, rtol=1e-5, atol=1e-5)
        assert changed.fingerprint != model.fingerprint
    assert_bits(model.hf, before)
    assert torch.equal(logits(model.hf), plain)
    assert learning == {name: p.requires_grad for name, p in model.hf.named_parameters()}
    assert not hasattr(model.hf, "peft_config")


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_an_exception_inside_leaves_the_base_model(family, tmp_path):
    saved(family, tmp_path)
    model = fresh(family)
    before = bits(model.hf)
    with pytest.raises(KeyboardInterrupt), adapted(model, tmp_path):
        raise KeyboardInterrupt
    assert_bits(model.hf, before)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_scores_and_erasures_are_those_of_the_tuned_weights(family, tmp_path):
    merged = saved(family, tmp_path).merge_and_unload()
    model = fresh(family)
    expected = wrap_model(merged, model.tokenizer, name="merged")
    neurons = some_neurons(expected, 4)
    with adapted(model, tmp_path) as changed:
        found = locate(changed, EXAMPLES, method="dcsn")
        with erased(changed, neurons, force=True):
            without = logits(changed.hf)
    torch.testing.assert_close(
        found.values, locate(expected, EXAMPLES, method="dcsn").values, rtol=1e-4, atol=1e-6
    )
    with erased(expected, neurons):
        torch.testing.assert_close(without, logits(expected.hf), rtol=1e-5, atol=1e-5)


def test_pefts_own_methods_are_used_too(tmp_path):
    model = fresh("llama")
    lora = prepare_lora(model, rank=2).trained
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    lora.save_pretrained(tmp_path)
    expected, model = logits(lora), fresh("llama")
    before = bits(model.hf)
    with adapted(model, tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), expected, rtol=1e-5, atol=1e-5)
        scores = locate(changed, EXAMPLES, method="dcsn")
    assert_bits(model.hf, before)
    assert not torch.allclose(scores.values, locate(model, EXAMPLES, method="dcsn").values)


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    saved("llama", tmp_path / "own")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "adapter_config.json").write_text('{"peft_type": "NEVER_HEARD"}')
    (tmp_path / "strange" / "adapter_model.safetensors").write_bytes(b"")
    for family, folder, error, told in [
        ("llama", "nothing", InputError, "brodmann tune"),
        ("llama", "strange", InputError, "NEVER_HEARD"),
        ("mistral", "own", MismatchError, "located on another model"),
    ]:
        with (
            pytest.raises(error, match=told) as caught,
            adapted(fresh(family), tmp_path / folder),
        ):
            pass
        assert "\n" not in str(caught.value)
    model = fresh("llama")
    tuned(model, some_neurons(model))
    with pytest.raises(ModelError, match="without adapters"), adapted(model, tmp_path / "own"):
        pass


def state(hf):
    """What must be the same afterwards besides the numbers."""
    return (
        [(name, id(module), module.training) for name, module in hf.named_modules()],
        {name: (id(p), p.requires_grad) for name, p in hf.named_parameters()},
        set(vars(hf)),
    )


@torch.no_grad()
def random_lora(model, folder, **options):
    """A folder with a LoRA of random numbers, and the model with it."""
    lora = get_peft_model(model.hf, LoraConfig(task_type="CAUSAL_LM", r=2, **options))
    for parameter in lora.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter) / 10)
    lora.save_pretrained(folder)
    return lora


def changed_file(folder, change):
    """Change the tensors of an adapter's file."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def widened(tensors):
    name = list(tensors)[-1]
    tensors[name] = torch.cat([tensors[name]] * 2)


def without_one(tensors):
    del tensors[next(iter(tensors))]


def with_one_more(tensors):
    name = next(iter(tensors))
    tensors[name.replace("layers.1", "layers.0").replace("mlp", "other")] = tensors[name].clone()


@pytest.mark.parametrize("change", [widened, without_one, with_one_more])
@pytest.mark.parametrize("kind", ["neurons", "experts", "lora"])
def test_a_file_that_does_not_fit_is_refused_and_leaves_the_base_model(tmp_path, kind, change):
    family = "mixtral" if kind == "experts" else "llama"
    if kind == "lora":
        targets, layers = ["up_proj", "down_proj"], [1, 2]
        random_lora(fresh(family), tmp_path, target_modules=targets, layers_to_transform=layers)
    else:
        saved(family, tmp_path)
    changed_file(tmp_path, change)
    model = fresh(family)
    model.hf.get_input_embeddings().requires_grad_(False)
    before, numbers = state(model.hf), bits(model.hf)
    refused = pytest.raises(MismatchError, match="modules of the one in")
    with refused as caught, adapted(model, tmp_path):
        pass
    assert "\n" not in str(caught.value)
    assert state(model.hf) == before
    assert_bits(model.hf, numbers)


def test_weights_that_no_one_can_read_are_refused(tmp_path):
    saved("llama", tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"torn")
    model = fresh("llama")
    before = state(model.hf)
    with pytest.raises(MismatchError, match="modules of the one in"), adapted(model, tmp_path):
        pass
    assert state(model.hf) == before


@pytest.mark.parametrize(
    "options",
    [{"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"init_lora_weights": "pissa"}],
    ids=["bias", "modules", "pissa"],
)
def test_methods_that_change_the_base_as_well_are_undone(tmp_path, options):
    model = fresh("llama_bias")
    expected = logits(random_lora(model, tmp_path, target_modules=["up_proj"], **options))
    model = fresh("llama_bias")
    before, numbers = state(model.hf), bits(model.hf)
    with adapted(model, tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), expected, rtol=1e-5, atol=1e-5)
    assert state(model.hf) == before
    assert_bits(model.hf, numbers)


def test_what_layers_share_is_in_the_file_once(tmp_path):
    config = VBLoRAConfig(task_type="CAUSAL_LM", target_modules=["up_proj"], r=2, num_vectors=8,
                          vector_length=16)  # fmt: skip
    lora = get_peft_model(fresh("llama").hf, config).eval()
    lora.save_pretrained(tmp_path)
    with adapted(fresh("llama"), tmp_path) as changed:
        torch.testing.assert_close(logits(changed.hf), logits(lora))
    changed_file(tmp_path, lambda tensors: tensors.pop("base_model.vblora_vector_bank"))
    with pytest.raises(MismatchError, match="bank"), adapted(fresh("llama"), tmp_path):
        pass


def test_an_adapter_that_lacks_a_whole_module_is_refused(tmp_path):
    options = {"target_modules": ["up_proj"], "modules_to_save": ["lm_head"]}
    random_lora(fresh("llama_bias"), tmp_path, **options)
    changed_file(tmp_path, lambda tensors: tensors.pop("base_model.model.lm_head.weight"))
    with pytest.raises(MismatchError, match="lm_head"), adapted(fresh("llama_bias"), tmp_path):
        pass


def test_a_learnt_prompt_is_refused(tmp_path):
    prompt = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(fresh("llama").hf, prompt).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="PROMPT_TUNING"), adapted(fresh("llama"), tmp_path):
        pass


@pytest.fixture
def three_tasks(tmp_path):
    """What O-LoRA writes of a third task, and the model with all three."""
    first = saved_adapter(prepare_lora(fresh("llama"), rank=2), tmp_path / "one")
    second = step(prepare_olora(fresh("llama"), [first], rank=3))
    second.trained.save_pretrained(tmp_path / "two")
    third = step(prepare_olora(fresh("llama"), [first, tmp_path / "two"], rank=2))
    third.trained.save_pretrained(tmp_path / "three")
    return tmp_path / "three", third.trained


def test_earlier_tasks_of_olora_are_active_too(three_tasks):
    folder, trained = three_tasks
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "earlier0",
        "earlier1",
    ]
    model, expected = fresh("llama"), logits(trained)
    before, numbers = state(model.hf), bits(model.hf)
    with adapted(model, folder) as changed:
        assert torch.equal(logits(changed.hf), expected)
        print_of_all = changed.fingerprint
        assert not any(p.requires_grad for p in changed.hf.parameters())
    assert state(model.hf) == before
    assert_bits(model.hf, numbers)
    (folder / "lora").mkdir()  # another folder is none of them
    shutil.copytree(folder / "earlier0", folder / "checkpoint-3")
    with adapted(model, folder) as changed:
        assert torch.equal(logits(changed.hf), expected)
        assert changed.fingerprint == print_of_all
    with adapted(model, folder / "earlier0") as changed:
        assert not torch.allclose(logits(changed.hf), expected)


def test_earlier_tasks_that_are_not_whole_are_refused(three_tasks, tmp_path):
    folder, _ = three_tasks
    model = fresh("llama")
    before = state(model.hf)
    changed_file(folder / "earlier1", without_one)
    with pytest.raises(MismatchError, match=r"earlier1.*lacks 1"), adapted(model, folder):
        pass
    (folder / "earlier1" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"earlier1.*no adapter_model"), adapted(model, folder):
        pass
    shutil.rmtree(folder / "earlier0")
    with pytest.raises(InputError, match="there is no earlier0"), adapted(model, folder):
        pass
    saved("llama", folder / "earlier0")
    with pytest.raises(InputError, match=r"earlier0.*holds BRODMANN"), adapted(model, folder):
        pass
    assert state(model.hf) == before
