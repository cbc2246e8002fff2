"""What is exported computes what the adapter computes, in processes that know less and less."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.models import load_model
from brodmann.neurons import NeuronSet
from brodmann.tuning import neuron_tuning
from brodmann.tuning.card import AdapterFacts, write_card
from brodmann.tuning.lora_form import export_lora
from brodmann.tuning.merged_checkpoint import export_merged
from tests.tiny import packable_model, tiny_model

PAIRS = [(0, 3), (0, 7), (0, 40), (2, 0), (2, 5)]  # layer 1 stays as it is
IDS = torch.arange(4, 16)[None]
DENSE = ["llama", "gpt2", "phi3", "gemma3_text"]

# Without brodmann: importing it fails, as if it were not installed.
MERGED_ALONE = """
sys.modules["brodmann"] = sys.modules["peft"] = None
from transformers import AutoModelForCausalLM as Auto
"""
LORA_ALONE = """
sys.modules["brodmann"] = None
from peft import AutoPeftModelForCausalLM as Auto
"""
BY_PEFT = """
import brodmann
from peft import AutoPeftModelForCausalLM as Auto
"""
BY_TRANSFORMERS = """
import brodmann
from transformers import AutoModelForCausalLM
class Auto:
    def from_pretrained(folder):
        model = AutoModelForCausalLM.from_pretrained(folder.parent / "base")
        model.load_adapter(folder)
        return model
"""
LOGITS = """
@torch.no_grad()
def logits(folder):
    return Auto.from_pretrained(folder).eval()(torch.arange(4, 16)[None]).logits
torch.save({family: logits(base / family / part) for family in families}, base / "logits.pt")
"""


@pytest.fixture
def tuned(tmp_path):
    """Open a family from a folder, with random deltas (its biases too, where it has some)."""

    def make(family, dtype=torch.float32, train_bias=True, folder=tmp_path):
        hf, tokenizer = tiny_model(family, dtype)
        hf.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        model = load_model(folder / "base")
        neurons = NeuronSet.from_pairs(PAIRS, model.n_layers, model.n_neurons, real=model.real)
        trained = get_peft_model(model.hf, neuron_tuning(model, neurons, train_bias=train_bias))
        randomise(trained)
        return model, trained

    return make


def randomise(trained):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(trained.named_parameters()):
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits


def elsewhere(imports, base, part):
    """The logits of each family that a new process gets from its folder of this name."""
    given = f"import sys, pathlib, torch; base = pathlib.Path({str(base)!r}); part = {part!r}"
    code = f"{given}; families = {DENSE}\n{imports}{LOGITS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(base / "logits.pt", weights_only=True)


def assert_alike(found, live):
    for family in DENSE:
        torch.testing.assert_close(
            found[family], live[family], rtol=0, atol=1e-5, msg=lambda words, f=family: f + words
        )


def test_merged_without_brodmann_and_peft(tuned, tmp_path):
    live = {}
    for family in DENSE:
        model, trained = tuned(family, folder=tmp_path / family)
        state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
        live[family] = logits(trained)
        export_merged(model, trained, tmp_path / family / "merged")
        for name, tensor in trained.state_dict().items():
            assert torch.equal(tensor, state[name]), name
        with trained.disable_adapter():
            assert (logits(trained) - live[family]).abs().max() > 1e-2  # or else nothing was shown
    assert_alike(elsewhere(MERGED_ALONE, tmp_path, "merged"), live)


def test_lora_without_brodmann(tuned, tmp_path):
    live = {}
    for family in DENSE:
        model, trained = tuned(family, train_bias=False, folder=tmp_path / family)
        live[family] = logits(trained)
        rank = export_lora(model, trained, tmp_path / family / "lora")
        assert rank == (6 if family == "phi3" else 3)  # phi3 fuses gate and up
        config = json.loads((tmp_path / family / "lora" / "adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"], config["peft_type"]) == (rank, rank, "LORA")
        assert config["fan_in_fan_out"] == (family == "gpt2")
    assert_alike(elsewhere(LORA_ALONE, tmp_path, "lora"), live)


@pytest.mark.parametrize("imports", [BY_PEFT, BY_TRANSFORMERS], ids=["peft", "load_adapter"])
def test_the_adapter_itself_in_a_new_process(imports, tuned, tmp_path):
    live = {}
    for family in DENSE:
        _, trained = tuned(family, folder=tmp_path / family)
        trained.save_pretrained(tmp_path / family / "adapter")
        live[family] = logits(trained)
    assert_alike(elsewhere(imports, tmp_path, "adapter"), live)


@pytest.mark.parametrize("family", ["llama_bias", "mixtral", "qwen3_moe"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_merged_checkpoint_is_what_merging_in_memory_gives(family, dtype, tuned, tmp_path):
    model, trained = tuned(family, dtype)
    export_merged(model, trained, tmp_path / "merged")
    merged = load_model(tmp_path / "merged").hf
    trained.merge_adapter()
    assert torch.equal(logits(merged), logits(trained))


def test_merging_takes_the_active_adapters(tuned, tmp_path):
    model, trained = tuned("llama")
    other = NeuronSet.from_pairs([(1, 2), (2, 9)], model.n_layers, model.n_neurons)
    trained.add_adapter("other", neuron_tuning(model, other))
    trained.base_model.set_adapter(["default", "other"])
    randomise(trained)
    live = logits(trained)
    export_merged(model, trained, tmp_path / "merged")
    torch.testing.assert_close(logits(load_model(tmp_path / "merged").hf), live, atol=1e-5, rtol=0)


def test_names_and_quantisation_of_the_merged_checkpoint(tuned, tmp_path):
    model, trained = tuned("llama")
    model.quantisation = "Q4_1"
    export_merged(model, trained, tmp_path / "merged")
    names = set(load_file(tmp_path / "merged" / "model.safetensors"))
    assert names == set(load_file(tmp_path / "base" / "model.safetensors"))
    assert load_model(tmp_path / "merged").quantisation == "Q4_1"


def test_modules_that_were_trained_whole_are_merged(tuned, tmp_path):
    model, _ = tuned("llama")
    model = load_model(tmp_path / "base")
    neurons = NeuronSet.from_pairs(PAIRS, model.n_layers, model.n_neurons)
    config = neuron_tuning(model, neurons)
    config.modules_to_save = ["lm_head"]
    trained = get_peft_model(model.hf, config)
    randomise(trained)
    live = logits(trained)
    with pytest.raises(ModelError, match="lm_head were trained whole"):
        export_lora(model, trained, tmp_path / "lora")
    export_merged(model, trained, tmp_path / "merged")
    torch.testing.assert_close(logits(load_model(tmp_path / "merged").hf), live, atol=1e-5, rtol=0)


def test_what_lora_cannot_say_is_refused(tuned, tmp_path):
    model, trained = tuned("gpt2")
    with pytest.raises(ModelError, match="train_bias=False, or export merged"):
        export_lora(model, trained, tmp_path / "lora")
    with pytest.raises(InputError, match="out of default; got 'sums'"):
        export_lora(model, trained, tmp_path / "lora", adapter="sums")
    experts, tuned_experts = tuned("mixtral")
    with pytest.raises(ModelError, match=r"without experts.*Export merged"):
        export_lora(experts, tuned_experts, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()


def test_biases_that_did_not_move_do_not_hinder_lora(tuned, tmp_path):
    model, trained = tuned("gpt2")
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "brodmann_bias" in name:
                parameter.zero_()
    assert export_lora(model, trained, tmp_path / "lora") == 3


def test_what_cannot_be_merged_is_refused(tuned, tmp_path):
    model, trained = tuned("llama")
    with pytest.raises(MismatchError, match="another model in memory"):
        export_merged(load_model(tmp_path / "base"), trained, tmp_path / "merged")
    trained.merge_adapter()
    with pytest.raises(ModelError, match="unmerge_adapter"):
        export_merged(model, trained, tmp_path / "merged")


def test_a_packed_base_is_not_merged_into_but_has_a_lora_form(tmp_path):
    pytest.importorskip("bitsandbytes")
    hf, tokenizer = packable_model()
    hf.save_pretrained(tmp_path / "base")
    four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)

    def packed():
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=four_bits, dtype=torch.float32, device_map="cpu"
        )

    model = load_model(packed(), tokenizer)
    neurons = NeuronSet.from_pairs(PAIRS, model.n_layers, model.n_neurons)
    trained = get_peft_model(model.hf, neuron_tuning(model, neurons))
    randomise(trained)
    with pytest.raises(ModelError, match="open the full-precision model"):
        export_merged(model, trained, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert export_lora(model, trained, tmp_path / "lora") == 3
    found = logits(PeftModel.from_pretrained(packed(), tmp_path / "lora"))
    torch.testing.assert_close(found, logits(trained), rtol=0, atol=1e-5)


FACTS = AdapterFacts(
    base="someone/a-model",
    fingerprint="f" * 64,
    counts=[0, 2, 1],
    n_neurons=144,
    parameters=288,
    total_parameters=100_000,
    located=[
        {
            "operation": "|",
            "parts": [
                {"model": "m", "method": "cnl", "data": {"spec": "arithmetic/add"}, "rule": "top"},
                {"model": "m", "method": "dcsn", "data": {"spec": "x|y <b>"}},
            ],
        }
    ],
    data=["arithmetic/add", "a.jsonl](http://evil)"],
    settings={"lr": 1e-5, "epochs": 5},
    evaluations=[
        {
            "data": "arithmetic/sub",
            "before": {"accuracy": 0.25, "interval": (0.2, 0.3), "n": 400},
            "after": {"accuracy": 0.5, "interval": (0.45, 0.55), "n": 400},
        }
    ],
    quantisation="Q4_1",
)


def test_a_card_tells_what_was_done(tmp_path):
    text = write_card(tmp_path, FACTS).read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "peft",
        "tags": ["brodmann", "neuron-tuning"],
        "base_model": "someone/a-model",
    }
    assert "3 of 144 neurons (2.083%), 288 of 100,000 parameters (0.288%)" in body
    assert "| 1 | 2 |\n| 2 | 1 |" in body
    assert "- m · cnl · arithmetic/add · top\n" in body
    assert "| arithmetic/sub | 400 | 25.0% (20.0% to 30.0%) | 50.0% (45.0% to 55.0%) |" in body
    assert "weights rounded to Q4_1" in body
    assert "KeyError: 'BRODMANN'" in body


def test_a_card_escapes_what_others_wrote(tmp_path):
    body = write_card(tmp_path, FACTS).read_text()
    assert "x\\|y &lt;b&gt;" in body
    assert "](http" not in body.replace("\\](http", "")


def test_a_base_that_is_no_hub_id_is_not_named_as_one(tmp_path):
    (tmp_path / "org" / "model").mkdir(parents=True)
    for base in ("smollm2-135m", str(tmp_path / "org" / "model"), "evil/x\nlicense: mit"):
        facts = AdapterFacts(**{**vars(FACTS), "base": base, "evaluations": ()})
        front = yaml.safe_load(write_card(tmp_path, facts).read_text().split("---\n", 2)[1])
        assert "base_model" not in front
