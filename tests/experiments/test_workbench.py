"""The workbench: everything is measured once, by a key that holds what decides it."""

import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer

from brodmann.evaluate import evaluate, random_sets
from brodmann.experiments import tune_once
from brodmann.experiments import workbench as module
from brodmann.experiments.erasing import beyond_random, erase_and_compare
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.workbench import Workbench
from brodmann.interventions import erased, reference_activations
from brodmann.localize import locate
from brodmann.neurons import NeuronSet
from tests.tiny import tiny_model

ADD = Sample("arithmetic/add:template=plain,max=9", "train", 12)
TEST = Sample("arithmetic/add:template=plain,max=9", "test", 6)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "model"
    hf, tokenizer = tiny_model("llama")
    for part in (hf, tokenizer):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def bench(model_folder, tmp_path):
    return Workbench(str(model_folder), tmp_path / "cache")


def _nothing_is_measured(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("measured again")

    for name in ("locate", "evaluate", "collateral"):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(tune_once, "tune_once", refuse)


def test_scores_and_answers_are_those_of_the_library(bench):
    scores = bench.scores(ADD, target="first")
    direct = locate(bench.model, bench.examples(ADD), "dcsn", target="first")
    assert scores.values.equal(direct.values)
    neurons = scores.top(5)
    with erased(bench.model, neurons):
        expected = evaluate(bench.model, bench.examples(TEST))
    assert bench.answers(TEST, neurons).accuracy == expected.accuracy
    assert bench.answers(TEST, neurons).margin == pytest.approx(expected.margin, abs=1e-9)
    assert bench.answers(TEST).margin != pytest.approx(expected.margin, abs=1e-9)


def test_what_was_measured_is_not_measured_again(bench, model_folder, monkeypatch):
    def everything(one):
        neurons = one.scores(ADD).top(5)
        training = Training(method="neurons", sample=ADD, neurons=neurons, lr=1e-3, steps=2)
        told, tuned = one.tuned(training, [TEST])
        told.pop("seconds")
        return (
            one.scores(ADD).values.tolist(),
            one.answers(TEST, neurons).to_dict(),
            one.neutral(neurons),
            told,
            tuned[TEST].to_dict(),
        )

    first = everything(bench)
    _nothing_is_measured(monkeypatch)
    again = Workbench(str(model_folder), bench.cache)
    assert everything(again) == first
    with pytest.raises(AssertionError, match="measured again"):
        again.answers(Sample(TEST.spec, "test", 5))
    with pytest.raises(AssertionError, match="measured again"):
        again.scores(ADD, target="mean")


def test_another_model_has_other_keys(bench, tmp_path, monkeypatch):
    hf, tokenizer = tiny_model("llama", seed=1)
    for part in (hf, tokenizer):
        part.save_pretrained(tmp_path / "other")
    bench.answers(TEST)
    other = Workbench(str(tmp_path / "other"), bench.cache)
    assert other.model.fingerprint != bench.model.fingerprint
    _nothing_is_measured(monkeypatch)
    bench.answers(TEST)
    with pytest.raises(AssertionError, match="measured again"):
        other.answers(TEST)


def test_tuning_leaves_the_model_as_it_was(bench):
    before = bench.answers(TEST).to_dict()
    training = Training(
        method="full", sample=ADD, neurons=None, lr=1e-2, steps=3, batch_size=4, held_out=4
    )
    told, tuned = bench.tuned(training, [TEST])
    assert told["held_out_loss"] > 0
    assert tuned[TEST].margin != before["margin"]
    assert bench.model.fingerprint == bench.fingerprint
    fresh = evaluate(bench.model, bench.examples(TEST))
    assert fresh.margin == pytest.approx(before["margin"], abs=1e-9)


def test_an_erasure_stands_beside_random_ones(bench):
    neurons = bench.scores(ADD).top(6)
    found = erase_and_compare(bench, neurons, TEST, draws=3)
    assert len(found.random) == 3
    change = found.change("margin")
    expected = found.located.margin - found.base.margin
    assert change.mean == pytest.approx(expected)
    drawn = [one.margin - found.base.margin for one in found.random]
    assert found.random_changes("margin") == pytest.approx(drawn)
    contrast = beyond_random([found], "margin")
    assert contrast is not None
    assert contrast.mean == pytest.approx(found.located.margin - sum(drawn) / 3 - found.base.margin)
    rank = 1 + sum(one <= expected for one in drawn)
    assert found.standing("margin").rank == rank
    nothing = erase_and_compare(bench, neurons - neurons, TEST, draws=3)
    assert nothing.random == []
    assert beyond_random([nothing]) is None


def test_random_sets_by_norm_are_as_active_as_the_located_one(bench):
    norms = bench.norms(bench.examples(TEST))
    plain = reference_activations(bench.model, bench.examples(TEST)).magnitude
    assert torch.equal(norms, plain)
    mask = torch.zeros_like(bench.model.real)
    mask[1, norms[1].argsort()[-4:]] = True
    neurons = NeuronSet.from_mask(mask, bench.model.real)
    found = erase_and_compare(bench, neurons, TEST, draws=2, norm_draws=3)
    drawn = random_sets(neurons, 3, "activation", norms=norms)
    for one, answers in zip(drawn, found.by_norm, strict=True):
        assert torch.equal(one.counts, mask.sum(1))
        assert float(norms[one.mask].min()) > float(norms[1].median())
        assert answers.rows == bench.answers(TEST, one).rows
    assert found.beside_norm.random == found.by_norm and len(found.random) == 2
    contrast = beyond_random([found.beside_norm], "margin")
    mean = sum(one.margin for one in found.by_norm) / 3
    assert contrast is not None
    assert contrast.mean == pytest.approx(found.located.margin - mean)


def test_a_model_learns_to_stop_where_it_is_asked_to(bench):
    few = Sample("arithmetic/add:template=plain,max=9", "train", 4)
    answers = [one.answer for one in bench.examples(few)]
    stopped = {}
    for end_of_text in (True, False):
        training = Training(method="full", sample=few, neurons=None, lr=1e-3, steps=40,
                            batch_size=4, end_of_text=end_of_text)  # fmt: skip
        _, tuned = bench.tuned(training, [few])
        outputs = [row["output"] for row in tuned[few].rows]
        stopped[end_of_text] = outputs == answers
        assert all(a.startswith(b) for a, b in zip(outputs, answers, strict=True))
    assert stopped == {True: True, False: False}


def test_a_model_of_the_same_weights_that_reads_otherwise_has_other_keys(
    bench, model_folder, tmp_path
):
    first = bench.answers(TEST).margin
    for number, change in enumerate(("config", "tokenizer")):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(model_folder, copy)
        if change == "config":
            config = json.loads((copy / "config.json").read_text())
            (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
        else:
            tokenizer = AutoTokenizer.from_pretrained(copy)
            tokenizer.add_tokens(["1+"])
            tokenizer.save_pretrained(copy)
        other = Workbench(str(copy), bench.cache)
        assert other.fingerprint == bench.fingerprint
        assert other.reads != bench.reads
        if change == "config":
            assert other.answers(TEST).margin != pytest.approx(first)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(model_folder, elsewhere)
    assert Workbench(str(elsewhere), bench.cache).reads == bench.reads


def test_what_scores_the_rows_of_a_file_is_part_of_the_key(bench, tmp_path):
    path = tmp_path / "sums.jsonl"

    def digest(answers):
        rows = [{"prompt": f"1+{n}=", "answer": one} for n, one in enumerate(answers)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        test = Sample(str(path), "test", 4)
        again = Workbench(bench.name, bench.cache)
        return again.digest(test), again.examples(test)

    numbers = [str(n + 1) for n in range(40)]
    before, examples = digest(numbers)
    asked = {one.prompt for one in examples}
    trained = next(n for n in range(40) if f"1+{n}=" not in asked)
    after, same = digest([*numbers[:trained], "many", *numbers[trained + 1 :]])
    assert [one.prompt for one in same] == [one.prompt for one in examples]
    assert {one.meta["scorer"] for one in examples} != {one.meta["scorer"] for one in same}
    assert before != after
