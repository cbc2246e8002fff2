"""PEFT and transformers know the method, whichever is imported first; and say so if they cannot."""

import subprocess
import sys
import textwrap

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel, convert_to_lora, get_peft_model
from peft import mapping as peft_mapping
from transformers import AutoModelForCausalLM

from brodmann import neuron_tuning
from brodmann.errors import RunError
from brodmann.tuning.registration import TABLES, register
from tests.tuning.neurons import bits, fresh, logits, some_neurons, tuned


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )


KNOWN = "assert 'BRODMANN' in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING"


@pytest.mark.parametrize(
    "code",
    [
        f"import peft, brodmann; {KNOWN}",
        "import importlib.util, brodmann; importlib.util.find_spec('peft');"
        f"import transformers.integrations.peft, peft; {KNOWN}",
    ],
)
def test_the_order_of_imports_does_not_matter(code):
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_importing_brodmann_imports_neither_torch_nor_peft():
    done = run("import sys, brodmann; assert not {'torch', 'peft'} & sys.modules.keys()")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", TABLES)
def test_a_changed_peft_is_told_in_one_line(monkeypatch, table):
    monkeypatch.delattr(peft_mapping, table)
    with pytest.raises(RunError, match=r"pip install 'peft>=") as caught:
        register()
    assert peft.__version__ in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_peft_can_still_be_imported():
    done = run(
        """
        import sys, types, importlib.abc, importlib.machinery
        import brodmann
        class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                if name == "peft.mapping":
                    return importlib.machinery.ModuleSpec(name, self)
            def exec_module(self, module): pass
        from importlib.util import find_spec
        import peft.mapping
        for table in ("CONFIG", "TUNER", "PREFIX"):
            delattr(peft.mapping, f"PEFT_TYPE_TO_{table}_MAPPING")
        sys.modules.pop("brodmann.tuning.registration")
        import warnings
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            from brodmann.tuning.on_import import register_with_peft
            register_with_peft()
        assert "cannot be registered" in str(told[0].message), told
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral"])
def saved(request, tmp_path_factory):
    """A base checkpoint, an adapter of it, and what the two compute."""
    folder = tmp_path_factory.mktemp(request.param)
    model = fresh(request.param)
    model.hf.save_pretrained(folder / "base")
    model.hf.name_or_path = str(folder / "base")
    peft_model = tuned(model, some_neurons(model))
    peft_model.save_pretrained(folder / "adapter")
    return folder, logits(peft_model)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_peft_loads_what_it_saved(saved, low_cpu_mem_usage):
    folder, expected = saved
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    model = PeftModel.from_pretrained(base, folder / "adapter", low_cpu_mem_usage=low_cpu_mem_usage)
    torch.testing.assert_close(logits(model), expected, rtol=1e-6, atol=1e-6)
    assert not any(p.requires_grad for p in model.parameters())
    auto = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")
    torch.testing.assert_close(logits(auto), expected, rtol=1e-6, atol=1e-6)
    trainable = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder / "base"), folder / "adapter", is_trainable=True
    )
    assert any(p.requires_grad for p in trainable.parameters())


def test_transformers_loads_adds_saves_and_deletes(saved, tmp_path):
    folder, expected = saved
    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    plain = bits(model)
    model.load_adapter(str(folder / "adapter"))
    torch.testing.assert_close(logits(model), expected, rtol=1e-6, atol=1e-6)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    torch.testing.assert_close(logits(again), expected, rtol=1e-6, atol=1e-6)
    model.delete_adapter("default")
    kept = {n.replace(".base_layer", ""): t for n, t in model.state_dict().items()}
    assert all(torch.equal(kept[name], tensor) for name, tensor in plain.items())
    model.add_adapter(again.peft_config["default"], "new")
    assert [n for n, p in model.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_peft_converts_it_to_lora(family):
    model = fresh(family)
    neurons = some_neurons(model)
    peft_model = get_peft_model(model.hf, neuron_tuning(model, neurons, train_bias=False))
    for name, parameter in peft_model.named_parameters():
        if "brodmann_" in name:
            parameter.data.normal_(0, 0.05)
    expected = logits(peft_model)
    config, state = convert_to_lora(peft_model, rank=int(neurons.counts.max()))
    lora = get_peft_model(fresh(family).hf, config)
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(lora, state)
    torch.testing.assert_close(logits(lora), expected, rtol=1e-4, atol=1e-4)
