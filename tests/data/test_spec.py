"""The grammar of data specs."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brodmann.data import DataSpec, canonical_spec
from brodmann.errors import DataError, UnknownNameError

keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    name=st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
    part=st.from_regex(r"([a-z0-9][a-z0-9-]{0,8})?", fullmatch=True),
    options=st.dictionaries(keys, values, max_size=4),
    on_hub=st.booleans(),
)
def test_the_text_of_a_spec_parses_back(name, part, options, on_hub):
    name = f"brodmann-test-{name}"  # no such file
    spec = (
        DataSpec(f"org/{name}@main", "", options, "hub")
        if on_hub
        else DataSpec(name, part, options)
    )
    parsed = DataSpec.parse(str(spec))
    assert parsed == spec and str(parsed) == str(spec) and hash(parsed) == hash(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_the_parts_of_a_spec():
    spec = DataSpec.parse("arithmetic/mul-add:task=mq,max=20")
    assert (spec.name, spec.part, spec.kind) == ("arithmetic", "mul-add", "named")
    assert dict(spec.options) == {"task": "mq", "max": "20"}
    assert str(canonical_spec(spec)) == "arithmetic/add-mul:max=20,task=mq"
    assert str(canonical_spec("arithmetic")) == "arithmetic/1op"
    assert DataSpec.parse(spec) is spec
    hub = DataSpec.parse("hub:org/name@v1:config=main,prompt=q")
    assert (hub.name, hub.kind, hub.options["config"]) == ("org/name@v1", "hub", "main")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"'Q: {question}, please\nA:'", "Q: {question}, please\nA:"),
        (r'"say \"yes\", or \\no"', 'say "yes", or \\no'),
        (r"Q: {question}\nA:", "Q: {question}\nA:"),
        (r"a\,b", "a,b"),
        ("it's", "it's"),
        ("", ""),
        ("''", ""),
        ("{{ a }}=b", "{{ a }}=b"),
    ],
)
def test_values_and_quotes(text, value):
    spec = DataSpec.parse(f"rows.jsonl:template={text},answer=x")
    assert dict(spec.options) == {"template": value, "answer": "x"}
    assert DataSpec.parse(str(spec)) == spec


def test_a_path_that_exists_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert DataSpec.parse("arithmetic/add:max=9").kind == "named"
    (tmp_path / "arithmetic").mkdir()
    (tmp_path / "arithmetic" / "add").touch()
    assert DataSpec.parse("arithmetic/add:max=9").kind == "path"
    (tmp_path / "odd:name,x.jsonl").touch()
    spec = DataSpec.parse("odd:name,x.jsonl:part=1/2")
    assert (spec.name, dict(spec.options)) == ("odd:name,x.jsonl", {"part": "1/2"})


def test_options_are_set_and_filled_in():
    spec = DataSpec.parse("arithmetic/add:max=9")
    assert str(spec.with_options(max=20, repeat=True)) == "arithmetic/add:max=20,repeat=true"
    assert str(spec.with_defaults(max=20, shots=4)) == "arithmetic/add:max=9,shots=4"
    assert str(spec.without("max")) == "arithmetic/add"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "NAME"),
        (":max=9", "NAME"),
        ("arithmetic:max", "Expected key=value .* got 'max'"),
        ("arithmetic:max=9,,task=dg", "Expected key=value"),
        ("arithmetic:max=9,", "after the last comma"),
        ("arithmetic:max=9,max=8", "max= twice"),
        ("rows.jsonl:template='Q", "closing '"),
        ("rows.jsonl:template='Q'x", "closing '"),
        (r"rows.jsonl:template=\d", r"got '\\d'"),
        ("nowhere/rows.jsonl", "nowhere/rows.jsonl; there is none"),
        ("./nowhere", "there is none"),
    ],
)
def test_what_does_not_parse(text, words):
    with pytest.raises(DataError, match=words):
        canonical_spec(text)


def test_unknown_options_get_a_hint(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    for text in ("arithmetic:tsk=dg", f"{tmp_path}/rows.jsonl:promt=x", "hub:a/b:confg=main"):
        with pytest.raises(UnknownNameError, match=r"Did you mean '(task|prompt|config)'"):
            canonical_spec(text)
