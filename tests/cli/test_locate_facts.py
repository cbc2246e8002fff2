"""`brodmann locate` by the methods of facts, of a fine-tune and of groups, on tiny models."""

import json

import pytest

from brodmann.data import Fact, write_facts
from brodmann.localize.trace import read_traces
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.storage import read_rows, read_tensors
from tests.cli.conftest import write_rows
from tests.tiny import planted_model


@pytest.fixture(scope="module")
def knowing(tmp_path_factory):
    """A folder with model/ (it answers "7" after "="), facts.jsonl (three known, one not)."""
    folder = tmp_path_factory.mktemp("knowing")
    planted = planted_model()
    planted.hf.save_pretrained(folder / "model")
    planted.tokenizer.save_pretrained(folder / "model")
    prompts = [prompt for prompt, _, _ in planted.examples if prompt[:-1].strip() == prompt[:-1]]
    facts = [
        Fact(id=f"fact {n}", subject=prompt[:-1], relation="", prompt=prompt, delimiter="",
             answer="7" if n else "k")
        for n, prompt in enumerate(list(dict.fromkeys(prompts))[:4])
    ]  # fmt: skip
    write_facts(folder / "facts.jsonl", facts)
    return folder


@pytest.fixture
def locate(brodmann, knowing, tmp_path):
    def run(method, *words, data="facts.jsonl"):
        given = ("--data", knowing / data) if data else ()
        return brodmann(
            *("locate", "--model", knowing / "model", "--method", method, *given),
            *("--out", tmp_path / "out", *words),
        )

    return run


def told(folder, name="run.json"):
    return json.loads((folder / name).read_text())


def test_tracing_writes_traces_the_average_pictures_and_a_set(locate, tmp_path, brodmann, knowing):
    result = locate("tracing", "--draws", 2, "--layers", 2, "--window", 1)
    assert result.returncode == 0, result.stderr
    assert "3 facts looked at; the model answers 3 of 4" in result.stdout
    out = tmp_path / "out"
    traces = read_traces(out / "traces")
    assert [trace.fact for trace in traces] == ["fact 1", "fact 2", "fact 3"]
    assert all(trace.answer == "7" for trace in traces)
    assert {row["kind"] for row in read_rows(out / "averaged.parquet")} == set(traces[0].effects)
    assert (out / "tracing.png").stat().st_size and (out / "tracing.svg").stat().st_size
    neurons = NeuronSet.load(out)
    rule = neurons.provenance["rule"]
    assert "our own projection" in rule["projection"]
    assert [int(n) > 0 for n in neurons.counts] == [i in rule["layers"] for i in range(3)]
    assert [row["known"] for row in told(out, "facts.json")] == [False, True, True, True]
    assert told(out)["samples"] == 3 and told(out)["tracing"]["draws"] == 2
    shown = brodmann("inspect", out, "--model", knowing / "model", "--json")
    assert shown.returncode == 0, shown.stderr
    assert not list(tmp_path.glob(".*unfinished"))


def test_an_interrupted_tracing_goes_on(locate, tmp_path, monkeypatch):
    words = ("--draws", 2, "--unknown-too")
    assert locate("tracing", *words).returncode == 0
    whole = {t.fact: t for t in read_traces(tmp_path / "out" / "traces")}
    (tmp_path / "out").rename(tmp_path / "whole")
    from brodmann.localize import trace as traces_file

    write, count = traces_file.write_trace, []

    def dying(folder, trace):
        count.append(trace.fact)
        if len(count) == 3:
            raise KeyboardInterrupt
        return write(folder, trace)

    with monkeypatch.context() as patch:
        patch.setattr(traces_file, "write_trace", dying)
        assert locate("tracing", *words).returncode == 130
    assert "--resume to go on" in locate("tracing", *words).stderr
    assert "it is of another" in locate("tracing", "--draws", 3, "--resume").stderr
    assert locate("tracing", *words, "--resume").returncode == 0
    again = {t.fact: t for t in read_traces(tmp_path / "out" / "traces")}
    assert again.keys() == whole.keys() and len(whole) == 4
    for fact, trace in again.items():
        for kind, values in trace.effects.items():
            assert values.equal(whole[fact].effects[kind])


def test_circuit_writes_one_for_each_fact_and_what_it_recalls(locate, tmp_path):
    result = locate("circuit", "--top-edges", 60, "--steps", 2, "--json")
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    rows = told(out, "circuits.json")
    assert [row["fact"] for row in rows] == ["fact 1", "fact 2", "fact 3"]
    for row in rows:
        assert 0 < row["n_edges"] <= 60 and row["rank"] >= 1
        folder = out / row["folder"]
        assert told(folder, "circuit.json")["n_edges"] == row["n_edges"]
        tensors, _ = read_tensors(folder / "edge_scores.safetensors")
        assert tensors["values"].isfinite().all()
        assert (folder / "circuit.png").stat().st_size
    assert json.loads(result.stdout)["recalled"] == sum(row["recalled"] for row in rows)
    assert "our own projection" in NeuronSet.load(out).provenance["rule"]["projection"]


def test_exact_circuits_are_within_the_candidates(locate, tmp_path):
    words = ("--top-edges", 20, "--limit", 1, "--unknown-too")
    assert locate("circuit", *words).returncode == 0
    few = told(tmp_path / "out" / "circuits" / "0001", "circuit.json")["n_edges"]
    result = locate("circuit", *words, "--exact", "--tau", 0.05, "--overwrite")
    assert result.returncode == 0, result.stderr
    exact = told(tmp_path / "out" / "circuits" / "0001", "circuit.json")
    assert exact["n_edges"] <= few
    assert exact["provenance"]["method"] == "acdc"


def test_neft_compares_two_checkpoints(brodmann, place, tmp_path):
    words = ("locate", "--model", place / "model", "--method", "neft", "--out", tmp_path / "out")
    result = brodmann(*words, "--tuned", place / "other", "--top", 4)
    assert result.returncode == 0, result.stderr
    scores, neurons = NeuronScores.load(tmp_path / "out"), NeuronSet.load(tmp_path / "out")
    assert neurons == scores.top(k=4)
    assert scores.provenance["tuning"]["checkpoint"] == str(place / "other")
    refused = brodmann(*words, "--tuned", place / "model", "--overwrite")
    assert refused.returncode == 2 and "all are as they were" in refused.stderr


def test_lape_tells_groups_apart(brodmann, place, tmp_path):
    write_rows(tmp_path / "words.jsonl", [("a sea of", "ice"), ("there is", "one"), ("so", "it")])
    words = ("locate", "--model", place / "model", "--method", "lape", "--split", "all")
    groups = ("--data", f"sums={place / 'rows.jsonl'}", "--data", tmp_path / "words.jsonl")
    result = brodmann(
        *words, *groups, "--percentile", 0.5, "--share", 0.1, "--out", tmp_path / "out", "--json"
    )
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)["groups"]
    assert list(counts) == ["sums", str(tmp_path / "words.jsonl")]
    folders = sorted((tmp_path / "out" / "sets").iterdir())
    sets = [NeuronSet.load(folder) for folder in folders]
    assert [len(one) for one in sets] == list(counts.values())
    assert NeuronSet.load(tmp_path / "out") == sets[0] | sets[1]
    one = brodmann(*words, *groups[:2], "--out", tmp_path / "one")
    assert one.returncode == 2 and "two or more --data" in one.stderr


def test_kn_takes_a_file_of_facts(locate, tmp_path):
    result = locate("kn", "--p", 0.5, "--limit", 2)
    assert result.returncode == 0, result.stderr
    assert len(told(tmp_path / "out", "facts.json")) == 2
    assert told(tmp_path / "out")["settings"]["data"]["split"] == "all"


@pytest.mark.parametrize(
    ("method", "words", "data", "said"),
    [
        ("tracing", ("--t", 0.2), "facts.jsonl", "got --t. Leave it out"),
        ("tracing", ("--sigma", 6), "facts.jsonl", "got --sigma"),
        ("tracing", ("--until-stable", 0.9), "facts.jsonl", "got --until-stable"),
        ("tracing", ("--layers", 9), "facts.jsonl", "Expected --layers from 1 to 3"),
        ("tracing", ("--target", "mean"), "facts.jsonl", "Expected target out of own, answer"),
        ("tracing", ("--noise", 0), "facts.jsonl", "Expected noise above 0"),
        ("tracing", (), None, "Expected one --data for method 'tracing'; got none"),
        ("tracing", (), "none.jsonl", "there is none"),
        ("circuit", ("--top-edges", 10**6), "facts.jsonl", "Expected --top-edges from 1 to"),
        ("circuit", ("--tau", 1), "facts.jsonl", "Expected --tau with --exact"),
        ("circuit", ("--draws", 2), "facts.jsonl", "got --draws"),
        ("neft", (), None, "Expected --tuned DIR"),
        ("neft", ("--tuned", "x"), "facts.jsonl", "got --data"),
        ("neft", ("--resume", "--tuned", "x"), None, "got --resume"),
        ("lape", ("--top", 3), "facts.jsonl", "got --top"),
        ("dcsn", ("--draws", 2), "facts.jsonl", "got 'draws'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(locate, tmp_path, method, words, data, said):
    result = locate(method, *words, data=data)
    assert (result.returncode, result.stdout) == (2, ""), result
    assert said in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "out").exists()


def test_a_subject_that_is_not_in_its_prompt_is_one_line(locate, knowing):
    row = {"subject": "Ombra", "prompt": "It ends in the", "answer": "sea"}
    (knowing / "bad.jsonl").write_text(json.dumps(row))
    for method in ("tracing", "circuit", "kn"):
        result = locate(method, data="bad.jsonl")
        assert result.returncode == 2
        assert "Expected the subject 'Ombra' in the prompt" in result.stderr
        assert result.stderr.count("\n") == 1
