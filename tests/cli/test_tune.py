"""`brodmann tune` and `evaluate --adapter`, as the real command, on a tiny model."""

import json
import sys

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from brodmann.neurons import NeuronSet
from tests.launched import FSDP2, launched

IDS = torch.tensor([[5, 17, 23, 9]])
STEPS = ("--max-steps", 3, "--batch-size", 4, "--test-items", 2)


def read(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def tune(place, out, *words, data=None):
    return (
        *("tune", place / "model", "--data", data or place / "rows.jsonl", *STEPS),
        *("--device", "cpu", "--out", out, "--json", *words),
    )


@torch.no_grad()
def logits(hf):
    return hf(input_ids=IDS).logits


@pytest.fixture(scope="module")
def tuned(brodmann, place, located, tmp_path_factory):
    """A tuned adapter with both exports, and what the command printed."""
    out = tmp_path_factory.mktemp("tuned") / "adapter"
    words = ("--neurons", located, "--lr", 0.05, "--export", "merged", "--export", "lora")
    return out, read(brodmann(*tune(place, out, *words)))


def test_the_folder_is_an_adapter_with_its_card_and_record(tuned, place, located):
    out, shown = tuned
    assert {path.name for path in out.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "run.json"),
        *("training.json", "transfer.json", "merged", "lora", "set.json", "set.safetensors"),
    }
    assert shown["steps"] == 3
    assert shown["trained_parameters"] == len(NeuronSet.load(located)) * 3 * 32
    (row,) = shown["transfer"]
    assert (row["measures"], row["n"]) == ("fit", 2)
    history = json.loads((out / "training.json").read_text())["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    card = (out / "README.md").read_text()
    assert "5 of 144 neurons" in card
    assert "import brodmann" in card
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["method"] == "neurons"
    assert NeuronSet.load(out) == NeuronSet.load(located)
    assert record["lora_rank"] == shown["lora_rank"] > 0
    base = AutoModelForCausalLM.from_pretrained(place / "model")
    adapter = AutoPeftModelForCausalLM.from_pretrained(out)
    assert not torch.allclose(logits(adapter), logits(base), rtol=1e-3)
    merged = AutoModelForCausalLM.from_pretrained(out / "merged")
    torch.testing.assert_close(logits(merged), logits(adapter), rtol=1e-5, atol=1e-5)


def test_evaluate_shows_the_adapter_beside_the_base_model(tuned, brodmann, place):
    out, shown = tuned
    words = ("--model", place / "model", "--data", place / "rows.jsonl", "--json")
    found = read(brodmann("evaluate", *words, "--adapter", out))["transfer"]
    for name, value in shown["transfer"][0].items():  # the one is merged, the other beside
        assert found[0][name] == (value if isinstance(value, str) else pytest.approx(value, 1e-4))
    lora = read(brodmann("evaluate", *words, "--adapter", out / "lora"))["transfer"]
    assert [row["tuned"] for row in lora] == [row["tuned"] for row in found]
    other = place / "more.jsonl"
    other.write_text(
        "".join(f'{{"prompt": "1 and {n} is", "answer": "{n + 1}"}}\n' for n in range(4))
    )
    more = read(
        brodmann("evaluate", *words, "--split", "all", "--adapter", out, "--transfer", other)
    )
    assert [row["measures"] for row in more["transfer"]] == ["fit", "generalisation"]
    assert {row["measures"] for row in lora} == {None}  # that folder does not tell


@pytest.mark.parametrize("method", ["random", "super", "neft"])
def test_baselines_of_the_sets_size(method, brodmann, place, located, tmp_path):
    out = tmp_path / method
    shown = read(brodmann(*tune(place, out, "--neurons", located, "--method", method)))
    own = len(NeuronSet.load(located)) * 3 * 32
    assert 0.8 * own <= shown["trained_parameters"] <= own
    assert (out / "adapter_model.safetensors").exists()
    assert {path.name for path in tmp_path.iterdir()} == {method}
    if method != "super":  # other neurons, and the card says which
        assert len(NeuronSet.load(out) - NeuronSet.load(located)) > 0
        assert f"· {method}" in (out / "README.md").read_text()


@pytest.mark.parametrize("how", ["freeze_located", "erase_then_tune_rest"])
def test_everything_but_the_neurons(how, brodmann, place, located, tmp_path):
    words = ("--neurons", located, "--method", "without", "--without", how, "--lr", 0.01)
    read(brodmann(*tune(place, tmp_path / "out", *words, "--weight-decay", 0.1)))
    before = AutoModelForCausalLM.from_pretrained(place / "model")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    layer, neuron = next(iter(NeuronSet.load(located)))
    for hf, site in ((before, 0), (after, 1)):
        columns = hf.model.layers[layer].mlp.down_proj.weight[:, neuron]
        if site == 0:
            expected = columns if how == "freeze_located" else torch.zeros_like(columns)
        else:
            assert torch.equal(columns, expected)
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)


def test_full_and_a_sequence_of_lora_tasks(brodmann, place, tmp_path):
    read(brodmann(*tune(place, tmp_path / "full", "--method", "full")))
    assert (tmp_path / "full" / "model.safetensors").exists()
    first = read(brodmann(*tune(place, tmp_path / "one", "--method", "olora", "--rank", 2)))
    assert "plain LoRA" in first["note"]
    words = ("--method", "olora", "--rank", 2, "--after", tmp_path / "one")
    second = read(brodmann(*tune(place, tmp_path / "two", *words)))
    assert second["trained_parameters"] == first["trained_parameters"]
    asked = ("--model", place / "model", "--data", place / "rows.jsonl", "--json")
    (found,) = read(brodmann("evaluate", *asked, "--adapter", tmp_path / "two"))["transfer"]
    assert found["margin_change"] == pytest.approx(second["transfer"][0]["margin_change"], 1e-4)


def test_early_stopping_watches_held_out_examples(brodmann, place, located, tmp_path):
    words = ("--neurons", located, "--held-out", 5, "--eval-every", 1, "--patience", 1)
    shown = read(brodmann(*tune(place, tmp_path / "out", *words, "--lr", 3, "--test-items", 0)))
    assert (shown["steps"], shown["best_step"]) == (2, 1)  # the rate is far too high
    assert shown["transfer"] == []


def test_an_interrupted_run_goes_on_to_the_same_bits(
    brodmann, place, located, tmp_path, monkeypatch
):
    words = ("--neurons", located, "--save-every", 1)
    whole = read(brodmann(*tune(place, tmp_path / "whole", *words)))
    out = tmp_path / "again"
    from brodmann.experiments import tune as experiment

    def stop(*args, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "transfer_rows", stop)
        stopped = brodmann(*tune(place, out, *words))
    assert stopped.returncode == 130
    assert not out.exists()
    refused = brodmann(*tune(place, out, *words))
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = read(brodmann(*tune(place, out, *words, "--resume")))
    assert resumed["loss"] == whole["loss"]
    names = ("adapter_model.safetensors",)
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "again"}


@pytest.mark.xdist_group("launches")
def test_two_processes_learn_the_same_and_write_once(brodmann, place, located, tmp_path):
    """Sharded by FSDP2; DDP is in tests/tuning."""
    words = ("--neurons", located)
    one = read(brodmann(*tune(place, tmp_path / "one", *words)))
    result = launched(FSDP2, "-m", "brodmann", *tune(place, tmp_path / "two", *words))
    assert result.returncode == 0, result.stderr
    two = json.loads(result.stdout)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    losses = [
        [row["loss"] for row in json.loads((tmp_path / n / "training.json").read_text())["history"]]
        for n in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    adapters = [load_file(tmp_path / n / "adapter_model.safetensors") for n in ("one", "two")]
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=1e-3, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


BAD = [
    ((), "--neurons SET"),
    (("--neurons", "nowhere"), "nowhere"),
    (("--method", "lorra"), "lora"),
    (("--method", "lora", "--neurons", "LOCATED"), "Leave it out"),
    (("--neurons", "LOCATED", "--after", "x"), "olora only"),
    (("--neurons", "LOCATED", "--rank", "4"), "lora or olora only"),
    (("--method", "lora", "--no-biases"), "--biases with method"),
    (("--neurons", "LOCATED", "--without", "freeze_located"), "Leave it out"),
    (("--method", "olora", "--after", "LOCATED"), "adapter_config.json"),
    (("--neurons", "LOCATED", "--export", "gguf"), "merged, lora"),
    (("--method", "full", "--export", "merged"), "no other form"),
    (("--neurons", "LOCATED", "--patience", "2"), "--held-out"),
    (("--neurons", "LOCATED", "--held-out", "500"), "--held-out"),
    (("--neurons", "LOCATED", "--lr", "-1"), "above 0"),
    (("--neurons", "LOCATED", "--warmup", "1.5"), "0 to below 1"),
    (("--neurons", "LOCATED", "--transfer", "nothing/there"), "'nothing'"),
    (("--neurons", "LOCATED", "--report-to", "nobody"), "nobody"),
    (("--neurons", "EMPTY"), "empty"),
]


@pytest.mark.parametrize(("words", "told"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(words, told, brodmann, place, located, tmp_path):
    found = NeuronSet.load(located)
    empty = tmp_path / "empty"
    (found - found).save(empty)
    named = {"LOCATED": located, "EMPTY": empty}
    result = brodmann(*tune(place, tmp_path / "out", *(named.get(w, w) for w in words)))
    assert result.returncode == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert told in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_set_or_an_adapter_of_another_model_is_refused(tuned, brodmann, place, located, tmp_path):
    words = ("--data", place / "rows.jsonl", *STEPS, "--out", tmp_path / "out")
    result = brodmann("tune", place / "other", "--neurons", located, *words)
    assert result.returncode == 2
    assert "got neurons of" in result.stderr
    words = ("--model", place / "other", "--data", place / "rows.jsonl")
    result = brodmann("evaluate", *words, "--adapter", tuned[0])
    assert result.returncode == 2
    assert "located on another model" in result.stderr
    result = brodmann("evaluate", *words, "--adapter", located)
    assert result.returncode == 2
    assert "adapter_config.json" in result.stderr
    result = brodmann("evaluate", *words, "--transfer", "arithmetic/add")
    assert result.returncode == 2
    assert "--adapter" in result.stderr


def test_without_peft_the_line_says_what_to_install(
    tuned, brodmann, place, located, tmp_path, monkeypatch
):
    monkeypatch.setattr("brodmann.tuning.on_import.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "peft")
    for result in (
        brodmann(*tune(place, tmp_path / "out", "--neurons", located)),
        brodmann(
            *("evaluate", "--model", place / "model", "--data", place / "rows.jsonl"),
            *("--adapter", tuned[0]),
        ),
    ):
        assert result.returncode == 2
        assert "pip install 'brodmann[tuning]'" in result.stderr
