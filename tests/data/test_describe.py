"""Descriptions of data, and families of capabilities."""

import json

import pytest

from brodmann.data import capability_specs, describe, load_examples
from brodmann.errors import DataError, UnknownNameError


def test_arithmetic_is_described():
    found = describe("arithmetic:max=9,task=tf", samples=2)
    assert found.spec == "arithmetic/1op:max=9,task=tf"
    whole, train, test = found.splits
    assert [row["split"] for row in found.splits] == ["all", "train", "test"]
    assert (whole["rows"], train["rows"], test["rows"]) == (180, 144, 36)
    assert whole["expressions"] == 180
    assert whole["operators"] == dict.fromkeys(("add", "sub", "mul", "div"), 45)
    assert whole["capabilities"] == whole["operators"]
    assert (whole["scorer"], whole["chance"], whole["answers"]) == ("choice", 0.5, 2)
    assert train["majority"] == 0.5 and train["commonest"] == [["No", 72], ["Yes", 72]]
    assert (whole["smallest_value"], whole["largest_value"]) == (0, 81)
    assert [s["split"] for s in found.samples] == ["all"] * 2 + ["train"] * 2 + ["test"] * 2
    first = load_examples("arithmetic:max=9,task=tf")[0]
    assert found.samples[0] == {
        "split": "all",
        "prompt": first.prompt,
        "delimiter": " ",
        "answer": first.answer,
        "choices": ["Yes", "No"],
    }
    json.dumps([found.splits, found.samples], allow_nan=False)


def test_repeats_are_counted_as_one_expression():
    spec = "arithmetic/sub:max=9,shots=2,repeat=true,split=test"
    (row,) = describe(spec, limit=30).splits
    assert (row["split"], row["rows"], row["expressions"]) == ("test", 30, 9)


def test_files_are_described(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"prompt": "a", "answer": "x"}\n{"prompt": "b", "answer": "x"}\n')
    whole, test = describe(str(tmp_path)).splits
    assert (whole["split"], test["split"], test["rows"]) == ("all", "test", 2)
    assert (test["scorer"], test["chance"], test["majority"]) == ("text", 0.0, 1.0)
    assert test["operators"] == {} and test["smallest_value"] is None
    with pytest.raises(DataError, match="at most 2"):
        describe(str(tmp_path), limit=3)


def test_the_family_of_arithmetic():
    assert capability_specs("arithmetic", max=9, repeat=True) == {
        name: f"arithmetic/{name}:max=9,repeat=true" for name in ("add", "sub", "mul", "div")
    }
    assert list(capability_specs("arithmetic")) == ["add", "sub", "mul", "div"]
    specs = capability_specs("arithmetic:max=20,task=mq", max=9, shots=4)
    assert specs["sub"] == "arithmetic/sub:max=20,shots=4,task=mq"


def test_a_users_own_capabilities(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"q": "p;", "answer": "x"}\n')
    a, b = f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"
    assert capability_specs(f"math={a},plain talk={b}", part="1/2") == {
        "math": f"{a}:part=1/2",
        "plain talk": f"{b}:part=1/2",
    }
    expected = {"math": f"{a}:answer=answer,prompt=q", "language": b}
    assert capability_specs(f"math={a}:prompt=q,answer=answer;language={b}") == expected
    assert capability_specs(f"math='{a}:prompt=q,answer=answer',language={b}") == expected
    specs = capability_specs(f"math={a}:template='Q; {{q}}',answer=answer;add=arithmetic/add")
    assert specs == {"math": f"{a}:answer=answer,template='Q; {{q}}'", "add": "arithmetic/add"}
    assert load_examples(specs["math"])[0].prompt == "Q; p;"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arithmetic/add", "family of capabilities"),
        ("math=nowhere.jsonl,language=x", "nowhere.jsonl; there is none"),
        ("a=arithmetic/add,a=arithmetic/sub", "'a' is twice"),
        ("a=arithmetic/add:max=9,task=dg,b=arithmetic/sub", "Put quotes"),
        ("a=arithmetic/add,,", "Expected NAME=SPEC"),
    ],
)
def test_capabilities_that_do_not_parse(text, words):
    with pytest.raises(DataError, match=words):
        capability_specs(text)


def test_unknown_families_get_a_hint():
    with pytest.raises(UnknownNameError, match="Did you mean 'arithmetic'"):
        capability_specs("arithmetics")
