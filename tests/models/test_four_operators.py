"""The small bundled models: what they can do, what they were taught, how they read text."""

import hashlib
import sys

import pytest
import torch

import brodmann.experiments.train_four_operators as training
from brodmann import evaluate, load_examples, load_model, locate
from brodmann.data.arithmetic.expressions import OPERATORS
from brodmann.data.arithmetic.options import of_length
from brodmann.errors import ModelError
from brodmann.experiments.muon import orthogonal
from brodmann.experiments.solved_lines import (
    NONE,
    expressions,
    joined,
    packed,
    solved_lines,
)
from brodmann.models.bundled import bundled_rows, cached, fetch
from brodmann.models.byte_tokenizer import byte_tokenizer
from brodmann.models.small_models import SMALL, save_small_model
from brodmann.models.tiny_random import LOUD, tiny_random
from brodmann.models.tokens import tokenise_answer

PLAIN = "arithmetic/{part}:template=plain,shots={shots},max=12"


@pytest.fixture(scope="module")
def four_operators():
    return load_model("four-operators")


@pytest.mark.parametrize("name", SMALL)
def test_small_models_lie_in_the_package(name):
    model = load_model(name)
    assert model.hf.dtype == torch.float32
    assert model.quantisation is None
    assert sum(weight.numel() for weight in model.hf.parameters()) == SMALL[name].parameters
    assert fetch(name) == cached(name)
    (row,) = (row for row in bundled_rows() if row["name"] == name)
    assert row["cached"]
    assert row["disk_bytes"] < 4e6
    assert row["download_bytes"] == 0


def test_a_folder_of_results_does_not_hide_the_model_it_is_called_after(tmp_path, monkeypatch):
    (tmp_path / "tiny-random").mkdir()
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("tiny-random").name == "tiny-random"
    with pytest.raises(ModelError, match=r"model folder with config\.json; 'results' has none"):
        load_model("results")
    own = load_model(tiny_random(), byte_tokenizer())
    for part in (own.hf, own.tokenizer):
        part.save_pretrained("four-operators")
    assert load_model("four-operators").fingerprint == own.fingerprint


@pytest.mark.parametrize("shots", [0, 2, 4])
@pytest.mark.parametrize("operator", OPERATORS)
def test_it_solves_what_it_never_saw(four_operators, operator, shots):
    spec = PLAIN.format(part=operator, shots=shots)
    unseen = load_examples(spec, split="test", seed=0, limit=16)
    assert evaluate(four_operators, unseen).accuracy >= 0.8


@pytest.mark.parametrize("operator", OPERATORS)
def test_it_knows_what_it_was_taught(four_operators, operator):
    spec = PLAIN.format(part=operator, shots=0)
    taught = load_examples(spec, split="train", seed=0, limit=60)
    assert evaluate(four_operators, taught).accuracy >= 0.95


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_test_expression_is_taught(n):
    part = f"{n}op"
    unseen = {
        example.meta["expression"]
        for example in load_examples(f"arithmetic/{part}:max=9", split="test", seed=0, limit=36)
    }
    for names in of_length(n):
        taught = {str(expression) for expression in expressions(names, "train", 1500)}
        kept = {str(expression) for expression in expressions(names, "test", 1500)}
        assert taught
        assert not taught & (kept | unseen)


def test_no_part_of_a_line_teaches_a_test_expression():
    unseen = {str(e) for name in OPERATORS for e in expressions((name,), "test", 144)}
    tokenizer = byte_tokenizer()
    checked = 0
    for lines in solved_lines(2, "train", 600):
        for ids, values in zip(lines.ids, lines.values, strict=True):
            text = tokenizer.decode(ids[ids != 0])
            for place in (values != NONE).nonzero().flatten().tolist():
                assert text[: place + 1] not in unseen
                checked += 1
    assert checked > 1000


def test_answers_and_values_stand_where_they_should():
    (lines, *others) = solved_lines(2, "train", 300)
    tokenizer = byte_tokenizer()
    for ids, answers, values in zip(lines.ids, lines.answers, lines.values, strict=True):
        text = tokenizer.decode(ids[ids != 0])
        question, answer = text.split("=")
        said = ids[1:][answers[:-1]]
        assert tokenizer.decode(said) == answer
        assert values[len(question)] == int(answer) == eval(question.replace("/", "//"))
    several = packed(joined([lines, *others]), 3)
    text = tokenizer.decode(several.ids[0][several.ids[0] != 0])
    assert text.count("\n") == text.count("=") == 3
    assert int(several.answers[0].sum()) == sum(
        len(line.split("=")[1]) + 1 for line in text.splitlines()
    )


def test_muon_brings_singular_values_near_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 8, 24), (2, 24, 8)):
        made = orthogonal(torch.randn(shape, generator=generator))
        values = torch.linalg.svdvals(made)
        assert made.shape == shape
        assert 0.5 < values.min() <= values.max() < 1.5


def test_the_script_trains_and_writes_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "PROPOSALS", 500)
    monkeypatch.setattr(training, "MOST_TESTED", 20)
    losses = []
    for name in ("first", "second"):
        command = ["train", "--out", str(tmp_path / name), "--steps", "5"]
        monkeypatch.setattr(sys, "argv", command)
        training.main()
        losses.append([line.split("loss")[1] for line in capsys.readouterr().out.splitlines()])
    first, second = (load_model(tmp_path / name) for name in ("first", "second"))
    assert first.fingerprint == second.fingerprint
    assert len(losses[0]) == 5
    assert losses[0] == losses[1]
    untrained = training.new_model(0)
    table = first.hf.get_input_embeddings().weight
    assert not torch.equal(table, untrained.get_input_embeddings().weight.half().float())


def _logits_hash():
    model = load_model("tiny-random")
    with torch.no_grad():
        logits = model.hf(input_ids=torch.arange(2, 40)[None]).logits
    return hashlib.sha256(logits.numpy().tobytes()).hexdigest()


def test_tiny_random_is_always_the_same(tmp_path):
    assert _logits_hash() == _logits_hash()
    save_small_model(tiny_random(), tmp_path / "again")
    shipped, again = load_model("tiny-random"), load_model(tmp_path / "again")
    for old, new in zip(shipped.hf.parameters(), again.hf.parameters(), strict=True):
        torch.testing.assert_close(new, old, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("part", OPERATORS)
def test_a_sigma_rule_finds_the_loud_neurons_of_tiny_random(part):
    examples = load_examples(PLAIN.format(part=part, shots=2), split="train", limit=16, seed=0)
    scores = locate(load_model("tiny-random"), examples, method="dcsn", target="first")
    found = set(scores.select(sigma=6))
    assert found
    assert found <= set(enumerate(LOUD))
    assert found <= set(scores.select(sigma=3))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("7*3=", "21"),
        ("3*4=12\n7*3=", "21"),
        ("根据给定的算式“7*3=?”，请直接给出答案：", "21"),
        ("7*3=21 对吗？", "是"),
        ("How was it? 😀🎉 ", "👍 great"),
        ("def f(x):\n\treturn x  # ", "π = 3"),
    ],
)
def test_any_text_is_read_byte_by_byte(prompt, answer):
    model = load_model("tiny-random")
    tokens = tokenise_answer(model, prompt, "", answer)
    assert tokens.n_prompt == len(prompt.encode())
    assert len(tokens.answer_ids) == len(answer.encode())
    assert model.tokenizer.decode(tokens.answer_ids) == answer
    encoded = model.tokenizer(prompt + answer, return_offsets_mapping=True)
    text = prompt + answer
    expected = [(i, i + 1) for i, char in enumerate(text) for _ in char.encode()]
    assert [tuple(span) for span in encoded["offset_mapping"]] == expected


def test_nothing_stands_in_front_of_a_text():
    tokenizer = byte_tokenizer()
    assert tokenizer("7")["input_ids"] == [tokenizer.convert_tokens_to_ids("7")]
    assert len(tokenizer) == 258
