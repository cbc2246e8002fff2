"""`brodmann edit`: facts edited on a tiny model, by the real command."""

import json

import pytest
import torch

from brodmann.data import Fact, write_facts
from brodmann.interventions.edited_facts import fact_edited
from brodmann.interventions.key_covariance import key_covariances
from brodmann.interventions.rome import RomeEdit
from brodmann.models import load_model
from brodmann.storage import read_rows
from tests.cli.conftest import write_rows

FACTS = [
    Fact(
        id="a", subject="Ombra", relation="P403", prompt="Ombra ends in the", answer="sea",
        target_new="bay", paraphrases=("The end of Ombra is the",),
        neighbours=(("Talla ends in the", "sea"),),
    ),
    Fact(id="b", subject="Vorna", relation="", prompt="Vorna lies in", answer="E", target_new="W"),
]  # fmt: skip


@pytest.fixture
def edit(brodmann, place, tmp_path):
    write_facts(tmp_path / "facts.jsonl", FACTS)

    def run(*words, facts=tmp_path / "facts.jsonl", layer=1, out="out"):
        return brodmann(
            *("edit", place / "model", "--facts", facts, "--layer", layer, "--steps", 2),
            *("--out", tmp_path / out, *words),
        )

    return run


def test_several_facts_give_edits_and_scores(edit, tmp_path):
    result = edit("--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["facts"], told["checkpoint"], told["layer"]) == (2, False, 1)
    assert "bundled neutral text" in result.stderr
    rows = read_rows(tmp_path / "out" / "scores.parquet")
    assert [row["fact"] for row in rows] == ["a", "b"]
    by_name = {(row["measure"], row["of"]): row for row in told["scores"]}
    margin = by_name["efficacy", "margin, nats"]
    expected = sum(row["efficacy_margin"] for row in rows) / 2
    assert margin["after"] == pytest.approx(expected)
    assert margin["95% interval"][0] <= expected <= margin["95% interval"][1]
    assert by_name["neighbourhood", "share right"]["facts"] == 1
    first, second = (RomeEdit.load(tmp_path / "out/edits" / n) for n in ("0001", "0002"))
    assert (first.provenance["fact"], second.provenance["fact"]) == ("a", "b")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["covariance"]["n_tokens"] > 1000 and record["facts"] == 2


def test_interrupted_edits_go_on(edit, tmp_path, monkeypatch):
    assert edit().returncode == 0
    whole = read_rows(tmp_path / "out" / "scores.parquet")
    (tmp_path / "out").rename(tmp_path / "whole")
    from brodmann.evaluate import editing

    score, scored = editing.edit_scores, []

    def dying(model, fact, *rest):
        scored.append(fact.id)
        if len(scored) == 2:
            raise KeyboardInterrupt
        return score(model, fact, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(editing, "edit_scores", dying)
        assert edit().returncode == 130
    assert "--resume to go on" in edit().stderr
    assert "it is of another" in edit("--resume", layer=0).stderr
    with monkeypatch.context() as patch:
        patch.setattr(editing, "edit_scores", dying)
        assert edit("--resume").returncode == 0
    assert scored == ["a", "b", "b"], "what was done is not done again"
    assert read_rows(tmp_path / "out" / "scores.parquet") == whole
    for number in ("0001", "0002"):
        one, other = (RomeEdit.load(tmp_path / n / "edits" / number) for n in ("out", "whole"))
        assert torch.equal(one.shift, other.shift) and one.provenance == other.provenance
    assert not list(tmp_path.glob(".*unfinished"))


def test_one_fact_gives_a_checkpoint_that_holds_the_edit(edit, place, tmp_path):
    result = edit("--fact", "b", "--target", "N", "--corpus", place / "rows.txt")
    assert result.returncode == 2 and "there is none" in result.stderr
    (tmp_path / "corpus.txt").write_text("a plain text of some length\n\nand another one\n")
    result = edit("--fact", "b", "--target", "N", "--corpus", tmp_path / "corpus.txt")
    assert result.returncode == 0, result.stderr
    assert "bundled neutral text" not in result.stderr
    changed, clean = load_model(str(tmp_path / "out")), load_model(str(place / "model"))
    made = RomeEdit.load(tmp_path / "out")
    assert made.provenance["target"] == "N"
    tokens = torch.tensor([[5, 6, 7]])
    with fact_edited(clean, made):
        expected = clean.hf(tokens).logits
    assert torch.equal(changed.hf(tokens).logits, expected)
    assert not torch.equal(clean.hf(tokens).logits, expected)


def test_bad_input_is_one_line_and_leaves_nothing(edit, place, tmp_path):
    def facts_file(**changes):
        row = {"subject": "Ombra", "prompt": "Ombra ends in the", "answer": "sea"} | changes
        path = tmp_path / "bad.jsonl"
        path.write_text(json.dumps(row))
        return path

    other = key_covariances(load_model(str(place / "other")), ["some text"], [1], cache=False)[1]
    other.save(tmp_path / "covariance.safetensors")
    own = key_covariances(load_model(str(place / "model")), ["some text"], [0], cache=False)[0]
    own.save(tmp_path / "layer-0.safetensors")
    shapes = write_rows(tmp_path / "rows.jsonl", [("a", "b")])
    for words, options, said in [
        ((), {"layer": 3}, "Expected a layer from 0 to 2"),
        ((), {"facts": facts_file(prompt="It ends in the")}, "Expected the subject 'Ombra' in"),
        ((), {"facts": shapes}, "CounterFact (requested_rewrite)"),
        ((), {"facts": tmp_path / "no.jsonl"}, "there is none"),
        (("--target", "bay"), {}, "Expected --target with one fact"),
        (("--fact", "c"), {}, "Expected a fact out of a, b; got 'c'"),
        (("--fact", "b", "--target", "E"), {}, "differs from the answer of fact b"),
        (("--covariance", tmp_path / "covariance.safetensors"), {}, "Expected key covariances of"),
        (("--covariance", tmp_path / "layer-0.safetensors"), {}, "got those of layer 0"),
        (
            ("--covariance", tmp_path / "layer-0.safetensors", "--corpus", shapes),
            {},
            "Leave one out",
        ),
    ]:
        result = edit(*words, **options)
        assert (result.returncode, result.stdout) == (2, ""), result
        assert said in result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert not (tmp_path / "out").exists()
    for changes, said in [
        ({"paraphrases": ["The end is the"]}, "Expected the subject 'Ombra' in the paraphrase 1"),
        ({"answer": "Ombra"}, "an answer that is not a prefix of the prompt"),
        ({}, "Expected target_new in fact 'fact-1'"),
    ]:
        result = edit(facts=facts_file(**changes))
        assert result.returncode == 2 and said in result.stderr
        assert result.stderr.count("\n") == 1
