"""The example with TRL runs, trains the neurons, and leaves an adapter that loads."""

import runpy
from pathlib import Path

import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file

from tests.tiny import tiny_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "trl_sft.py"


def test_trl_trains_the_located_neurons(tmp_path, capsys):
    hf, tokenizer = tiny_model("llama_bias")
    hf.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    words = ["--model", tmp_path / "base", "--out", tmp_path / "adapter"]
    words += ["--neurons", 7, "--examples", 16, "--steps", 3]
    runpy.run_path(str(EXAMPLE))["main"]([str(word) for word in words])
    assert "7 of 144 neurons" in capsys.readouterr().out
    deltas = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert deltas and all("brodmann_" in name and delta.any() for name, delta in deltas.items())
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    ids = torch.arange(4, 16)[None]
    with torch.no_grad():
        base, tuned = hf(ids).logits, loaded(ids).logits
        with loaded.disable_adapter():
            assert torch.equal(loaded(ids).logits, base)
    assert (tuned - base).abs().max() > 1e-4
