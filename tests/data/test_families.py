"""Named sets of the families: prompts, splits, solved rows in front, options, lists of sets."""

import json
import subprocess
import sys

import pytest

from brodmann.data import capability_specs, describe, load_examples, named_sets, write_examples
from brodmann.data.families import TASK_SETS
from brodmann.data.families.language import last_words
from brodmann.data.families.math import options_of, plain_number
from brodmann.errors import DataError, InputError, UnknownNameError
from brodmann.evaluate.scoring import SCORERS
from tests.data.family_files import json_lines, sample_rows, write

ALL_SETS = pytest.mark.parametrize("name", TASK_SETS)

PROMPTS = {
    "gsm8k": "Question: Lea plants 4 rows of 6 leeks. How many leeks is that?\nAnswer:| |24",
    "svamp": "Question: A box of 24 pears loses 10, How many pears are left?\nAnswer:| |14",
    "mathqa": "Question: what is 0.3 of 90 ?\nOptions:\na) 27\nb) 30\nc) 2.7\nd) 270\ne) 60\n"
    "Answer:| |a",
    "amc": "Question: What is $13 \\cdot 11$?\nAnswer:| |143",
    "humaneval": 'def half(n):\n    """Return the half of an even number."""\n|    |return n // 2',
    "mbpp": '"""\nWrite a function to find the last digit of a number.\n'
    "Your code should pass these tests:\nassert last_digit(17) == 7\n"
    "assert last_digit(0) == 0\nassert last_digit(120) == 0\n"
    '"""\n||def last_digit(n):\n    return n % 10',
    "apps": '"""\nReturn the text without its first letter.\nComplete this code:\ndef rest(text):\n'
    '"""\n||def rest(text):\n    return text[1:]',
    "codexglue": "// gets the height in pixels .\n||int function ( ) { return height ; }",
    "code25k": '"""\nPrint the square root of 16.\n"""\n||import math\nprint(math.sqrt(16))',
    "emotion": "Text: i feel lonely in this big town\nEmotion:| |sadness",
    "imdb": "Review: The dialogue is painful. Avoid it.\nSentiment:| |negative",
    "tweeteval": "Tweet: So proud of my little sister!\nEmotion:| |joy",
    "tweeteval/sentiment": "Tweet: Doors open at 7 pm.\nSentiment:| |neutral",
    "emocontext": "A: it snows\nB: really\nA: yes i love it\nEmotion of A:| |happy",
}


def keys(spec, split, **options):
    return [example.prompt for example in load_examples(spec, split, **options)]


@ALL_SETS
def test_the_sample_rows(name):
    train, test = (load_examples(f"{name}:source=sample", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (12, 8)
    assert not {e.prompt for e in train} & {e.prompt for e in test}
    assert load_examples(f"{name}:source=sample") == train + test
    task = TASK_SETS[name]
    for example in train + test:
        assert example.meta["scorer"] == task.scorer and example.choices == task.choices
        assert (example.meta["family"], example.meta["set"]) == (task.family, name)
        assert example.answer == example.answer.strip() and example.answer
        assert len(example.prompt) < 400
    assert len({e.meta["id"] for e in train + test}) == 20
    few = load_examples(f"{name}:source=sample", "test", limit=3, seed=1)
    assert few == load_examples(f"{name}:source=sample", "test", limit=8, seed=1)[:3]


@ALL_SETS
def test_the_scorer_takes_the_answer(name):
    task = TASK_SETS[name]
    for example in load_examples(f"{name}:source=sample"):
        if task.scorer == "number":
            assert SCORERS.get("number").parse(f" #### {example.answer}", ()) == example.answer
        elif task.scorer == "code_text":
            assert SCORERS.get("code_text").parse(example.answer, ()) is not None
        elif task.scorer == "choice":
            assert example.answer in example.choices
            assert SCORERS.get("choice").chance(example.choices) == task.chance
        else:
            assert task.scorer == "code" and example.meta["code"]["kind"] in ("program", "stdin")


@pytest.mark.parametrize(("name", "expected"), PROMPTS.items())
def test_prompts(name, expected):
    examples = load_examples(f"{name}:source=sample", "test")
    assert expected in [f"{e.prompt}|{e.delimiter}|{e.answer}" for e in examples]


@ALL_SETS
def test_solved_rows_in_front(name):
    spec = f"{name}:source=sample"
    solved = {e.prompt + e.delimiter + e.answer for e in load_examples(spec, "train")}
    for split in ("train", "test"):
        plain = load_examples(spec, split, limit=4)
        shown = load_examples(f"{spec},shots=3", split, limit=4)
        for one, other in zip(plain, shown, strict=True):
            context, _, own = other.prompt.rpartition(one.prompt)
            assert own == "" and (other.answer, other.meta) == (one.answer, one.meta)
            assert context.endswith("\n\n")
            in_front = [text for text in solved if text + "\n\n" in context]
            assert len(in_front) == 3 and sum(map(len, in_front)) + 6 == len(context)
            assert one.prompt not in context
        assert len({e.prompt for e in shown}) == 4
        assert shown == load_examples(f"{spec},shots=3", split, limit=4)


def test_more_solved_rows_than_there_are():
    assert load_examples("gsm8k:source=sample,shots=12", "test")
    with pytest.raises(DataError, match=r"12 other rows .* shots=12; there are 11 .*Lower shots="):
        load_examples("gsm8k:source=sample,shots=12", "train")
    for text in ("-1", "many", "65", ""):
        with pytest.raises(DataError, match=rf"shots= from 0 to 64; got '{text}'"):
            load_examples(f"gsm8k:source=sample,shots={text}")


def test_a_text_of_both_parts_is_a_test_row(tmp_path):
    rows = sample_rows("gsm8k")
    write(tmp_path / "train.jsonl", json_lines([*rows["train"], *rows["test"][:3]]))
    write(tmp_path / "test.jsonl", json_lines(rows["test"]))
    assert len(load_examples(f"gsm8k:dir={tmp_path}", "train")) == 12
    assert len(load_examples(f"gsm8k:dir={tmp_path}", "test")) == 8
    assert len(load_examples(f"gsm8k:dir={tmp_path}")) == 20


def test_a_release_in_one_part_is_divided(tmp_path):
    rows = [
        {"query": f"What is {n} + 1?", "response": f"The answer is: {n + 1}"} for n in range(99)
    ]
    rows += rows[:5]  # a text that comes twice stays on one side
    write(tmp_path / "MetaMathQA-395K.json", json.dumps(rows))
    spec = f"metamath:dir={tmp_path}"
    train, test = keys(spec, "train"), keys(spec, "test")
    assert len(train) + len(test) == 104 and 8 < len(test) < 35
    assert not set(train) & set(test)
    assert keys(spec, "test", seed=1) != test
    parts = [keys(f"{spec},part={k}/2", "train") for k in (1, 2)]
    assert sorted(parts[0] + parts[1]) == sorted(train) and not set(parts[0]) & set(parts[1])


def test_a_part_that_is_not_there(tmp_path):
    write(tmp_path / "gsm8k" / "test.jsonl", json_lines(sample_rows("gsm8k")["test"]))
    assert len(load_examples(f"gsm8k:dir={tmp_path}")) == 8
    with pytest.raises(DataError, match=r"rows of gsm8k \(split=train\) in .*gsm8k; there are no"):
        load_examples(f"gsm8k:dir={tmp_path}", "train")
    with pytest.raises(DataError, match="1 other rows of the train split"):
        load_examples(f"gsm8k:dir={tmp_path},shots=1", "test")


def test_rows_that_are_left_out(tmp_path):
    write(
        tmp_path / "metamath.jsonl",
        json_lines(
            [
                {"query": "Half of one?", "response": "The answer is: \\frac{1}{2}"},
                {"query": "Half of two?", "response": "The answer is: 1"},
                {"query": "", "response": "The answer is: 1"},
            ]
        ),
    )
    assert [e.answer for e in load_examples(f"metamath:dir={tmp_path}")] == ["1"]
    many = [{"text": "Hm.", "labels": [3, 6]}, {"text": "Ha.", "labels": [1]}]
    write(tmp_path / "goemotions.jsonl", json_lines(many))
    assert [e.answer for e in load_examples(f"goemotions:dir={tmp_path}")] == ["amusement"]
    turns = {"turn1": "hi", "turn2": None, "turn3": "ok", "label": 0}
    write(tmp_path / "emocontext.jsonl", json_lines([turns, {**turns, "turn2": "yes"}]))
    assert len(load_examples(f"emocontext:dir={tmp_path}")) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", "72"), (" 1,200 ", "1200"), ("$18.00", "18"), (142.0, "142"), ("0.750", "0.75"),
        ("-3", "-3"), (".5", "0.5"), ("7.", "7"), ("10.0", "10"), ("100", "100"),
        ("\\frac{1}{2}", None), ("x = 3", None), ("", None), ("1 2", None), (None, None),
    ],
)  # fmt: skip
def test_numbers_are_written_plainly(text, number):
    assert plain_number(text) == number


def test_options_of_mathqa():
    plain = "a ) 38 , b ) 27.675 , c ) rs . 3 , 000 , d ) data inadequate , e ) none of these"
    expected = {"a": "38", "b": "27.675", "c": "rs . 3 , 000", "d": "data inadequate"}
    assert options_of(plain) == expected | {"e": "none of these"}
    listed = "['a ) 1 / 2', 'b ) 2', 'c ) area ) x', 'd ) 4', 'e ) 5']"
    assert options_of(listed) == {"a": "1 / 2", "b": "2", "c": "area ) x", "d": "4", "e": "5"}


def test_the_end_of_a_review():
    assert last_words("one two three", 20) == "one two three"
    assert last_words("one two three", 9) == "two three"
    assert last_words("one two three", 8) == "three"
    assert last_words("wordwithoutend", 5) == "utend"
    shown = [e.prompt for e in load_examples("imdb:source=sample,chars=10", "test")]
    assert all(len(text) <= len("Review: \nSentiment:") + 10 for text in shown)
    for text in ("0", "x", "-3"):
        with pytest.raises(DataError, match=f"chars= as a number .* got '{text}'"):
            load_examples(f"imdb:source=sample,chars={text}")


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_solutions_pass_their_tests(name):
    for example in load_examples(f"{name}:source=sample,shots=1"):
        code = example.meta["code"]
        assert set(code) == {"kind", "before", "after"} and code["kind"] == "program"
        exec(code["before"] + example.answer + code["after"], {})
        with pytest.raises(Exception):  # noqa: B017 (whatever a wrong program runs into)
            exec(code["before"] + "pass" + code["after"], {})


def test_a_set_up_may_use_what_the_answer_defines(tmp_path):
    row = {
        "task_id": 11,
        "text": "Write a class with a height.",
        "code": "class Node:\n    height = 1",
        "test_setup_code": "root = Node()",
        "test_list": ["assert root.height == 1"],
    }
    folder = tmp_path / "mbpp"
    folder.mkdir()
    (folder / "mbpp.jsonl").write_text(json.dumps(row))
    (example,) = load_examples(f"mbpp:dir={tmp_path}", "test")
    code = example.meta["code"]
    exec(code["before"] + example.answer + code["after"], {})


def test_solutions_of_apps_pass_their_cases():
    kinds = set()
    for example in load_examples("apps:source=sample"):
        code = example.meta["code"]
        assert set(code) == {"kind", "before", "cases", "fn_name"} and code["kind"] == "stdin"
        kinds.add(code["fn_name"] is None)
        for given, wanted in code["cases"]:
            if code["fn_name"]:
                names = {}
                exec(example.answer, names)
                assert names[code["fn_name"]](*given) == wanted
            else:
                command = [sys.executable, "-c", example.answer]
                run = subprocess.run(command, input=given, text=True, capture_output=True)
                assert run.stdout == wanted
    assert kinds == {True, False}


def test_tests_of_apps_with_many_digits(tmp_path):
    row = dict(sample_rows("apps")["train"][0])
    row["input_output"] = '{"inputs": [[1]], "outputs": [%s], "fn_name": "f"}' % ("7" * 5000)
    write(tmp_path / "train.jsonl", json_lines([row]))
    (example,) = load_examples(f"apps:dir={tmp_path}", "train")
    assert example.meta["code"]["cases"][0][1] % 10 == 7


def test_programs_survive_a_file(tmp_path):
    examples = load_examples("mbpp:source=sample", "test")
    write_examples(tmp_path / "rows.jsonl", examples)
    assert load_examples(str(tmp_path / "rows.jsonl")) == examples


def test_bad_options(tmp_path, monkeypatch):
    monkeypatch.delenv("BRODMANN_DATA", raising=False)
    for spec, words in (
        ("gsm8k:source=web", "source out of folder, hub, sample; got 'web'"),
        ("gsm8k:chars=9", "data option of 'gsm8k' out of dir,"),
        ("tweeteval/irony", "part of 'tweeteval' out of emotion, sentiment; got 'irony'"),
        ("gsm9k", "Did you mean 'gsm8k'"),
        ("gsm8k/main", "part of 'gsm8k'"),
    ):
        with pytest.raises(UnknownNameError, match=words):
            load_examples(spec)
    for spec, words in (
        (f"gsm8k:dir={tmp_path}/none", "folder with the data of gsm8k at .*none; there is none"),
        (f"gsm8k:dir={tmp_path},source=sample", "one of dir= and source=sample for gsm8k"),
        ("gsm8k:source=folder", "dir= or the environment variable BRODMANN_DATA"),
    ):
        with pytest.raises(DataError, match=words):
            load_examples(spec)
    with pytest.raises(DataError, match="limit of at most 8"):
        load_examples("gsm8k:source=sample", "test", limit=9)


def test_families_are_capabilities():
    assert list(capability_specs("math")) == ["gsm8k", "metamath", "svamp", "mathqa", "amc"]
    assert list(capability_specs("program")) == [
        "humaneval", "mbpp", "apps", "codexglue", "code25k",
    ]  # fmt: skip
    assert capability_specs("language:source=sample", shots=2) == {
        "emotion": "emotion:shots=2,source=sample",
        "imdb": "imdb:shots=2,source=sample",
        "goemotions": "goemotions:shots=2,source=sample",
        "tweeteval": "tweeteval/emotion:shots=2,source=sample",
        "emocontext": "emocontext:shots=2,source=sample",
    }
    assert list(capability_specs("capabilities")) == ["gsm8k", "code25k", "emotion"]
    with pytest.raises(InputError, match="data option of 'gsm8k'"):
        capability_specs("math:chars=9")


def test_the_list_of_sets():
    rows = {row["set"]: row for row in named_sets()}
    assert rows.keys() == {"arithmetic", "decoupling", *TASK_SETS}
    assert rows["mathqa"]["chance"] == 0.2 and rows["gsm8k"]["chance"] == 0
    assert rows["tweeteval/emotion"]["family"] == "language"
    assert all("\n" not in row["summary"] and len(row["summary"]) < 100 for row in rows.values())
    json.dumps(named_sets())


def test_a_set_is_described():
    whole, train, test = describe("emotion:source=sample", samples=0).splits
    assert (whole["rows"], train["rows"], test["rows"]) == (20, 12, 8)
    assert whole["chance"] == pytest.approx(1 / 6) and whole["scorer"] == "choice"
