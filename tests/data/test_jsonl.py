"""A user's own JSONL files."""

import json

import pytest

from brodmann.data import Example, load_examples, write_examples
from brodmann.errors import DataError, InputError, UnknownNameError


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def numbers(tmp_path):
    rows = [{"prompt": f"{n} and one make", "answer": n + 1, "id": n} for n in range(200)]
    return write(tmp_path / "numbers.jsonl", *rows)


def test_rows_become_examples(tmp_path):
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "Two", "answer": 2, "tags": ["a", "b"], "meta": {"capability": "count"}},
        {"prompt": "Half", "answer": 0.5, "delimiter": "="},
    )
    assert load_examples(path) == [
        Example(
            "Two", "2", " ", (), {"scorer": "number", "tags": ("a", "b"), "capability": "count"}
        ),
        Example("Half", "0.5", "=", (), {"scorer": "number"}),
    ]


def test_the_scorer_follows_from_the_answers(tmp_path):
    labelled = {"prompt": "p", "answer": "good", "choices": ["good", "bad"]}
    files = {
        "choice": [labelled],
        "number": [{"prompt": "p", "answer": "-1,234.5"}, {"prompt": "q", "answer": 3}],
        "text": [{"prompt": "p", "answer": "12 apples"}, {"prompt": "q", "answer": 3}],
    }
    for scorer, rows in files.items():
        (example, *_) = load_examples(write(tmp_path / f"{scorer}.jsonl", *rows))
        assert example.meta["scorer"] == scorer
    given = load_examples(str(tmp_path / "number.jsonl") + ":scorer=text")
    assert {e.meta["scorer"] for e in given} == {"text"}
    # a file has one scorer, whichever split the odd answer falls in
    rows = [{"prompt": str(n), "answer": n if n else "none"} for n in range(40)]
    path = write(tmp_path / "odd.jsonl", *rows)
    assert {e.meta["scorer"] for s in ("train", "test") for e in load_examples(path, s)} == {"text"}


def test_white_space_in_front_of_an_answer_goes_into_the_delimiter(tmp_path):
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "def f():\n", "answer": "    return 1\n"},
        {"prompt": "x", "answer": " y", "delimiter": ":"},
        {"prompt": "z", "answer": " no", "choices": [" yes", " no"]},
    )
    code, other, labelled = load_examples(path)
    assert (labelled.delimiter, labelled.answer, labelled.choices) == (" ", "no", ("yes", "no"))
    assert (code.delimiter, code.answer) == ("    ", "return 1\n")
    assert (other.delimiter, other.answer) == (": ", "y")


def test_columns_templates_and_choices(tmp_path):
    row = {"question": "What, now?", "label": 1, "names": ["no", "yes"], "prompt": "unused {x}"}
    path = write(tmp_path / "rows.jsonl", row)
    (plain,) = load_examples(f"{path}:template='Q: {{question}},\\nA:',answer=label,choices=names")
    assert plain.prompt == "Q: What, now?,\nA:"
    assert (plain.answer, plain.choices) == ("yes", ("no", "yes"))
    assert plain.meta == {"scorer": "choice", "question": "What, now?", "prompt": "unused {x}"}
    (jinja,) = load_examples(
        f"{path}:template={{{{ question|upper }}}}{{% if label %}}!{{% endif %}}\\n,answer=label,"
        "choices=down|up,delimiter="
    )
    assert (jinja.prompt, jinja.answer, jinja.delimiter) == ("WHAT, NOW?!\n", "up", "")
    (column,) = load_examples(f"{path}:prompt=question,answer=label,scorer=integer")
    assert (column.prompt, column.answer, column.meta["scorer"]) == ("What, now?", "1", "integer")


def test_a_file_is_split_by_the_prompt(numbers):
    whole, train, test = (load_examples(numbers, split) for split in ("all", "train", "test"))
    assert [e.meta["id"] for e in whole] == list(range(200))
    assert sorted(e.meta["id"] for e in train + test) == list(range(200))
    assert 20 <= len(test) <= 60
    assert load_examples(numbers, "test", seed=1) != test
    assert load_examples(f"{numbers}:split=all", "test") == whole
    halves = [load_examples(f"{numbers}:part={k}/2", "train") for k in (1, 2)]
    assert sorted(e.meta["id"] for half in halves for e in half) == [e.meta["id"] for e in train]
    assert all(len(half) > 50 for half in halves)


def test_equal_prompts_are_on_one_side(tmp_path):
    rows = [{"prompt": f"p{n % 20}", "answer": n} for n in range(100)]
    path = write(tmp_path / "rows.jsonl", *rows)
    train, test = ({e.prompt for e in load_examples(path, split)} for split in ("train", "test"))
    assert train and test and not train & test


def test_a_limit_takes_the_first_of_a_seeded_shuffle(numbers):
    ten = load_examples(numbers, limit=10)
    assert load_examples(numbers, limit=20)[:10] == ten
    assert [e.meta["id"] for e in ten] != list(range(10))
    assert load_examples(numbers, limit=10, seed=1) != ten
    with pytest.raises(DataError, match=r"at most 200, .* got 201"):
        load_examples(numbers, limit=201)


def test_a_folder_has_its_own_split(tmp_path):
    write(tmp_path / "train.jsonl", *({"prompt": f"a{n}", "answer": "x"} for n in range(9)))
    write(tmp_path / "test.jsonl", {"prompt": "b", "answer": "y"})
    assert len(load_examples(str(tmp_path), "train")) == 9
    assert [e.answer for e in load_examples(str(tmp_path), "test")] == ["y"]
    assert len(load_examples(str(tmp_path))) == 10
    assert len(load_examples(str(tmp_path / "train.jsonl"))) == 9
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"Expected train.jsonl .* it has test.jsonl"):
        load_examples(str(tmp_path), "train")
    assert len(load_examples(str(tmp_path))) == 1
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(DataError, match="it has neither"):
        load_examples(str(tmp_path))


def test_odd_bytes_that_are_fine(tmp_path):
    path = tmp_path / "rows.jsonl"
    text = '\n{"prompt": "a\u2028b", "answer": "\u4e2d"}\r\n\n{"prompt": "c", "answer": "d"}'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [e.prompt for e in load_examples(str(path))] == ["a\u2028b", "c"]


GOOD = b'{"prompt": "p", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (GOOD + b'{"prompt": "\xff"}\n', "UTF-8 text in line 2"),
        (GOOD + GOOD + b"{prompt}\n", "one JSON object in line 3 .*column 2"),
        (GOOD + b"[1, 2]\n", "one JSON object in line 2 .* got list"),
        (GOOD + b'{"prompt": "p", "answer": NaN}\n', "line 2 .* NaN"),
        (b"[" * 100_000, "one JSON object in line 1"),
        (b'{"question": "p", "answer": "a"}', "'prompt' in line 1 .* question, answer"),
        (b'{"prompt": "p", "label": "a"}', "'answer' in line 1 .* prompt, label"),
        (b"{}", "its keys are none"),
        (b'{"prompt": null, "answer": "a"}', "'prompt' in line 1 .* got null"),
        (b'{"prompt": "p", "answer": true}', "'answer' in line 1 .* got true or false"),
        (b'{"prompt": "p", "answer": ["a"]}', "'answer' in line 1 .* got a list"),
        (b'{"prompt": "p", "answer": {"a": 1}}', "got an object"),
        (b'{"prompt": "p", "answer": "  "}', "Expected an answer in line 1"),
        (b'{"prompt": "", "answer": "a"}', "Expected a prompt in line 1"),
        (b'{"prompt": "\\ud800", "answer": "a"}', "half a surrogate"),
        (b'{"prompt": "p", "answer": "a", "choices": ["b", "c"]}', "choices b, c .* got 'a'"),
        (b'{"prompt": "p", "answer": "a", "choices": ["a"]}', "two or more different labels"),
        (b'{"prompt": "p", "answer": "a", "choices": ["a", "a"]}', "two or more different labels"),
        (b'{"prompt": "p", "answer": "a", "choices": {"a": 1}}', "list of labels"),
        (b'{"prompt": "p", "answer": "a", "delimiter": null}', "'delimiter' in line 1"),
        (b'{"prompt": "p", "answer": "a", "meta": 3}', "object as 'meta'"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path, content, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load_examples(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("template=plain", "template with {column}"),
        ("template={a} {", "template with {column}"),
        ("template={nope}", "'nope' in line 1"),
        ("template={{ nope }}", "'nope' is undefined"),
        ("template={% if %}", "jinja2 template"),
        ("template={{ prompt.__class__ }}", "unsafe"),
        ("template={prompt.__class__}", "'prompt.__class__' in line 1"),
        ("template={prompt},prompt=prompt", "not both"),
        ("choices=yes", "two or more different labels"),
        ("scorer=choice", "choices with scorer=choice"),
    ],
)
def test_bad_options_of_a_file(tmp_path, options, words):
    path = write(tmp_path / "rows.jsonl", {"prompt": "p", "answer": "a"})
    with pytest.raises(DataError, match=words):
        load_examples(f"{path}:{options}")
    with pytest.raises(UnknownNameError, match="Did you mean 'number'"):
        load_examples(f"{path}:scorer=numbr")


def test_what_is_written_loads_back(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    odd = Example(
        "p\u2028\n", "a b ", "", ("a b ", "c"), {"scorer": "choice", "x": (1, (2.5, None))}
    )
    for examples in (
        load_examples("arithmetic:task=mq,shots=2,lang=zh", limit=20),
        load_examples("arithmetic/2op:template=plain,answers=free", limit=20),
        [odd],
    ):
        write_examples(path, examples, overwrite=True)
        assert load_examples(str(path)) == examples
    with pytest.raises(InputError, match="--overwrite"):
        write_examples(path, [odd])
    with pytest.raises(InputError, match="is a folder"):
        write_examples(tmp_path, [odd])
    with pytest.raises(DataError, match="JSON types"):
        write_examples(tmp_path / "other.jsonl", [Example("p", "a", meta={"x": {1, 2}})])
    with pytest.raises(InputError, match="can be written"):
        write_examples(path / "below.jsonl", [odd])
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["new", "rows.jsonl"]
