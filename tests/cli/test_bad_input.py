"""Ten kinds of bad input: one clear line each, the right exit code, nothing half-written."""

import shutil

import pytest
import torch

from brodmann.neurons import NeuronSet
from brodmann.storage import read_json, write_json, write_tensors
from tests.cli.conftest import write_rows
from tests.tiny import tiny_model


@pytest.fixture
def refused(brodmann):
    """Run a command that must be refused: exit code 2, nothing on stdout, one line on stderr."""

    def run(*words: object) -> str:
        result = brodmann(*words)
        assert result.returncode == 2, (result.returncode, result.stderr)
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    return run


@pytest.fixture
def locate(place, tmp_path):
    """The words of a locate command on tiny data, into a folder that must not appear."""
    return lambda data, model="model": (
        *("locate", "--model", place / model, "--data", data),
        *("--split", "all", "--out", tmp_path / "out"),
    )


def test_unknown_model(refused, place, tmp_path):
    words = ("--data", place / "rows.jsonl", "--out", tmp_path / "out")
    line = refused("locate", "--model", "smollm2-135n", *words)
    assert "smollm2-135m" in line and "'smollm2-135n'" in line
    assert not (tmp_path / "out").exists()


def test_the_line_of_a_process_of_its_own(brodmann_process, place, located, tmp_path):
    words = ("erase", place / "other", located, "--out", tmp_path / "out")
    result = brodmann_process(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_unknown_data_spec(refused):
    assert "Did you mean 'arithmetic'?" in refused("data", "arithmetik/add")


def test_unknown_data_option(refused):
    assert "shots" in refused("data", "arithmetic/add:shot=4")


def test_neuron_out_of_range_in_a_hand_made_set(refused, place, tmp_path):
    folder = tmp_path / "hand"
    NeuronSet.from_pairs([(3, 0)], n_layers=4, n_neurons=48).save(folder)
    line = refused("erase", place / "model", folder, "--out", tmp_path / "out")
    assert "3 layers x 48 neurons" in line
    assert not (tmp_path / "out").exists()


def test_set_of_another_model(refused, brodmann, place, located, tmp_path):
    words = ("erase", place / "other", located, "--out", tmp_path / "out")
    assert "got neurons of" in refused(*words)
    assert not (tmp_path / "out").exists()
    assert brodmann(*words, "--force").returncode == 0


def test_weights_with_nan(refused, place, tmp_path, locate):
    hf, tokenizer = tiny_model("llama")
    with torch.no_grad():
        hf.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    hf.save_pretrained(place / "nan")
    tokenizer.save_pretrained(place / "nan")
    assert "NaN" in refused(*locate(place / "rows.jsonl", model="nan"))
    assert not (tmp_path / "out").exists()


def test_empty_data(refused, tmp_path, locate):
    assert "empty.jsonl" in refused(*locate(write_rows(tmp_path / "empty.jsonl", [])))


def test_answer_longer_than_the_context(refused, tmp_path, locate):
    rows = write_rows(tmp_path / "long.jsonl", [("a is", "b" * 300)])
    assert "256 tokens" in refused(*locate(rows))


def test_prompt_and_answer_in_one_token(refused, place, tmp_path, locate):
    hf, tokenizer = tiny_model("qwen2")
    hf.save_pretrained(place / "bytes")
    tokenizer.save_pretrained(place / "bytes")
    rows = write_rows(tmp_path / "joined.jsonl", [("of t", "he")], delimiter="")
    assert "share the token ' the'" in refused(*locate(rows, model="bytes"))


def test_folder_that_exists(refused, brodmann, place, located):
    words = ("locate", "--model", place / "model", "--data", place / "rows.jsonl")
    before = (located / "run.json").read_bytes()
    assert "--overwrite" in refused(*words, "--out", located)
    assert (located / "run.json").read_bytes() == before
    assert "--overwrite" in refused("erase", place / "model", located, "--out", located)


def test_folder_of_somebody_else_is_never_overwritten(refused, place, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    words = ("locate", "--model", place / "model", "--data", place / "rows.jsonl")
    assert "other files" in refused(*words, "--out", tmp_path, "--overwrite")
    assert (tmp_path / "thesis.txt").exists()


def test_unknown_method(refused, locate, place):
    assert "'dcsm'" in refused(*locate(place / "rows.jsonl"), "--method", "dcsm")


def test_rules_that_cannot_hold_are_refused_before_the_work(refused, locate, place):
    assert "--sigma above 0" in refused(*locate(place / "rows.jsonl"), "--sigma", "0")
    assert "up to 144" in refused(*locate(place / "rows.jsonl"), "--top", "100000")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--sign", "negativ"), ("--batch-size", "many"), ("--dtype", "int8"), ("--limit", "-3")],
)
def test_unknown_option_value(refused, locate, place, option, value):
    assert value in refused(*locate(place / "rows.jsonl"), option, value)


def test_corrupt_set(refused, place, located, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(located, broken)
    (broken / "set.safetensors").write_bytes(b"not tensors")
    assert "corrupt" in refused("erase", place / "model", broken, "--out", tmp_path / "out")


def test_set_whose_files_disagree(refused, place, located, tmp_path):
    edited = tmp_path / "edited"
    shutil.copytree(located, edited)
    summary = read_json(edited / "set.json")
    write_json(edited / "set.json", summary | {"counts": [0, 0, 0]})
    assert "do not agree" in refused("inspect", edited, "--model", place / "model")


def test_missing_set(refused, place, tmp_path):
    assert "none at" in refused("inspect", tmp_path / "no", "--model", place / "model")


def test_resume_of_other_work(refused, place, tmp_path):
    state = tmp_path / ".out.unfinished" / "sums.safetensors"
    state.parent.mkdir()
    write_tensors(state, {"counts": torch.zeros(1)}, {"work": "something else", "batches": "1"})
    words = ("locate", "--model", place / "model", "--data", place / "rows.jsonl", "--split", "all")
    assert "another model, data, options" in refused(*words, "--out", tmp_path / "out", "--resume")
    assert "Write --resume to go on" in refused(*words, "--out", tmp_path / "out")
    assert state.exists()
