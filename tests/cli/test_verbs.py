"""Every verb once, as the real command, on a tiny model."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from brodmann.neurons import NeuronScores, NeuronSet
from tests.cli.conftest import ROWS


def read(result):
    """The one JSON value that a command printed; nothing else stands on stdout."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_data_counts_samples_and_writes(brodmann, tmp_path):
    out = tmp_path / "rows.jsonl"
    shown = read(
        brodmann(
            "data", "arithmetic/add:max=9,repeat=true,shots=2", "--limit", 6, "--out", out, "--json"
        )
    )
    assert {row["split"]: row["rows"] for row in shown["splits"]} == {
        "all": 6,
        "train": 6,
        "test": 6,
    }
    assert len(out.read_text().splitlines()) == 6


def test_models_lists_bundled_names_and_families(brodmann):
    shown = read(brodmann("models", "--json"))
    names = {row["name"] for row in shown["bundled"]}
    assert names == {"smollm2-135m", "gemma3-270m", "four-operators", "tiny-random"}
    assert {"llama", "gpt2", "mixtral"} <= set(shown["families"])


def test_verify_prints_the_checks(brodmann, place):
    shown = read(brodmann("verify", place / "model", "--json"))
    assert shown["passed"]
    assert all(row["result"] == "ok" for row in shown["rows"])


def test_locate_writes_scores_set_record_and_curve(located):
    names = {path.name for path in located.iterdir()}
    assert names == {
        *("scores.safetensors", "set.safetensors", "set.json", "run.json"),
        *("convergence.json", "convergence.svg"),
    }
    scores, neurons = NeuronScores.load(located), NeuronSet.load(located)
    assert neurons == scores.top(k=5)
    assert scores.n_samples == len(ROWS)
    record = json.loads((located / "run.json").read_text())
    assert record["settings"]["data"]["seed"] == 0
    assert record["rule"] == {"top": 5, "sign": "both"}
    assert record["model"]["fingerprint"] == neurons.provenance["fingerprint"]
    assert not list(located.parent.glob(".located*"))


def test_locate_prints_both_shares(brodmann, place, tmp_path):
    result = brodmann(
        *("locate", "--model", place / "model", "--data", place / "rows.jsonl", "--limit", 8),
        *("--top", 4, "--sign", "positive", "--no-fold-norm", "--out", tmp_path / "out"),
    )
    assert result.returncode == 0, result.stderr
    assert "4 of 144 neurons: 2.78% of the neurons" in result.stdout
    assert "of the parameters (8 samples)" in result.stdout


def test_inspect_names_tokens_and_examples(brodmann, place, located):
    rows = read(
        brodmann(
            *("inspect", located, "--model", place / "model"),
            *("--data", place / "rows.jsonl", "--tokens", 3, "--json"),
        )
    )
    assert len(rows) == 5
    strengths = [abs(row["score"]) for row in rows]
    assert strengths == sorted(strengths, reverse=True)
    assert all(len(row["promotes"]) == len(row["suppresses"]) == 3 for row in rows)
    assert all(len(row["examples"]) == 3 for row in rows)


def test_evaluate_with_and_without_a_set(brodmann, place, located):
    words = ("evaluate", "--model", place / "model", "--data", place / "rows.jsonl")
    plain = read(brodmann(*words, "--split", "all", "--json"))
    erased = read(brodmann(*words, "--split", "all", "--erase", located, "--json"))
    assert plain["n"] == erased["n"] == len(ROWS)
    assert plain["erased_neurons"] is None and erased["erased_neurons"] == 5
    assert plain["margin"] != erased["margin"]


def test_compare_shows_overlap_beside_chance(brodmann, located, tmp_path):
    other = tmp_path / "other"
    NeuronScores.load(located).top(k=3).save(other)
    (row,) = read(brodmann("compare", located, other, "--json"))["pairs"]
    assert (row["size_a"], row["size_b"], row["common"]) == (5, 3, 3)
    assert row["iou"] == pytest.approx(3 / 5)
    assert row["overlap_by_chance"] == pytest.approx((3 / 144 + 5 / 144) / 2)


@pytest.mark.parametrize(
    ("verb", "more", "factor"), [("erase", (), 0.0), ("scale", ("--by", 2), 2.0)]
)
def test_erase_and_scale_write_a_checkpoint(brodmann, place, located, tmp_path, verb, more, factor):
    out = tmp_path / "baked"
    assert (
        read(brodmann(verb, place / "model", located, *more, "--out", out, "--json"))["neurons"]
        == 5
    )
    before = AutoModelForCausalLM.from_pretrained(place / "model")
    after = AutoModelForCausalLM.from_pretrained(out)
    mask = NeuronSet.load(located).mask
    for layer, chosen in enumerate(mask):
        old, new = (hf.model.layers[layer].mlp.down_proj.weight for hf in (before, after))
        assert torch.equal(new[:, chosen], old[:, chosen] * factor)
        assert torch.equal(new[:, ~chosen], old[:, ~chosen])


def test_a_killed_locate_is_resumed_to_the_same_bits(brodmann, place, tmp_path):
    out = tmp_path / "resumed"
    words = ["locate", "--model", place / "model", "--data", place / "rows.jsonl"]
    words += ["--split", "all", "--top", 5, "--batch-size", 4, "--out"]
    whole = tmp_path / "whole"
    assert brodmann(*words, whole).returncode == 0
    # The process ends at once in the middle, as SIGKILL would end it.
    code = (
        "import os, sys, brodmann.localize.checkpoint as c\n"
        "c.SECONDS = 0; save = c.Checkpoint.save\n"
        "def dying(self, sums, batches, **more):\n"
        "    save(self, sums, batches, **more)\n"
        "    if batches == 3: os._exit(9)\n"
        "c.Checkpoint.save = dying\n"
        "from brodmann.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, *map(str, words), str(out)])
    assert killed.returncode == 9
    assert not out.exists()
    assert brodmann(*words, out, "--resume").returncode == 0
    for name in ("scores.safetensors", "set.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_pipe_that_closes_is_no_traceback():
    command = [sys.executable, "-c", "from brodmann.cli.main import main; main()"]
    words = ["data", "arithmetic/add", "--samples", "1000"]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
