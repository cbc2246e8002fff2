"""`brodmann locate` with integrated gradients: cnl and kn."""

import json

import pytest

from brodmann.neurons import NeuronScores, NeuronSet
from tests.cli.conftest import ROWS


@pytest.fixture
def locate(brodmann, place, tmp_path):
    def run(*words, data="rows.jsonl"):
        return brodmann(
            *("locate", "--model", place / "model", "--data", place / data, "--split", "all"),
            *(*words, "--out", tmp_path / "out"),
        )

    return run


@pytest.fixture
def facts(place):
    path = place / "facts.jsonl"
    rows = [
        {"fact": str(total), "prompt": f"{a} plus {total - a} is", "answer": str(total)}
        for total in (3, 4, 5)
        for a in (1, 2)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path.name


def record_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_cnl_writes_a_folder_with_how_it_was_computed(locate, tmp_path):
    result = locate("--method", "cnl", "--top", 3, "--steps", 5, "--memory-gb", 0.5)
    assert result.returncode == 0, result.stderr
    scores, neurons = NeuronScores.load(tmp_path / "out"), NeuronSet.load(tmp_path / "out")
    assert neurons == scores.top(k=3)
    assert scores.n_samples == len(ROWS)
    record = record_of(tmp_path / "out")
    assert record["scores"]["path"] == "staircase"
    assert record["scores"]["steps"] == 5
    assert record["scores"]["completeness_error_max"] < 1e-3
    assert record["seconds"] > 0


def test_until_stable_stops_and_says_how_many(locate, tmp_path):
    words = ("--method", "dcsn", "--top", 144, "--until-stable", 0.9, "--min-samples", 2)
    assert locate(*words).returncode == 0
    record = record_of(tmp_path / "out")
    # All neurons are in every set: the first round, of 32 samples, would do; there are fewer.
    assert record["samples"] == len(ROWS)
    assert record["settings"]["until_stable"] == 0.9


def test_kn_joins_the_sets_of_all_facts(locate, facts, tmp_path):
    result = locate("--method", "kn", "--p", 0.5, "--sign", "both", data=facts)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "facts.json").read_text())
    assert [row["fact"] for row in found] == ["3", "4", "5"]
    assert {row["prompts"] for row in found} == {2}
    joined = {(n["layer"], n["neuron"]) for row in found for n in row["neurons"]}
    assert set(NeuronSet.load(tmp_path / "out")) == joined
    assert all(abs(n["votes"]) > 0.5 for row in found for n in row["neurons"])
    assert NeuronScores.load(tmp_path / "out").n_samples == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "dcsn", "--steps", 20), "Expected options of method 'dcsn'"),
        (("--method", "dcsn", "--site", "gate_pre"), "Expected site out of down_in, act"),
        (("--method", "cnl", "--no-fold-norm"), "got 'fold_norm'"),
        (("--method", "cnl", "--t", 0.2), "got 't'"),
        (("--method", "cnl", "--quadrature", "simpson"), "got 'simpson'"),
        (("--method", "cnl", "--quadrature", "paper", "--steps", 1), "2 or more steps"),
        (("--method", "cnl", "--memory-gb", 0), "memory in GB above 0"),
        (("--method", "cnl", "--until-stable", 95), "got 95"),
        (("--method", "kn", "--sigma", 3), "got --sigma too"),
        (("--method", "kn", "--t", 2), "Expected t from 0 to below 1; got 2"),
        (("--method", "kn", "--until-stable", 0.9), "got 'until_stable'"),
        (("--top", 3, "--scope", "layer"), "got --scope too"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(locate, tmp_path, words, said):
    result = locate(*words)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_facts_that_only_some_rows_name_are_refused(locate, place):
    path = place / "half.jsonl"
    rows = [{"prompt": "1 plus 2 is", "answer": "3"}, {"prompt": "2 plus 2 is", "answer": "4"}]
    rows[0]["fact"] = "three"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    result = locate("--method", "kn", data="half.jsonl")
    assert result.returncode == 2
    assert "1 of 2 rows have none" in result.stderr
