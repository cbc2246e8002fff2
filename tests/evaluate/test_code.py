"""The scorer "code": where a program ends, which are right, and leave to run them."""

import json
import sys

import pytest

from brodmann.data.example import Example
from brodmann.errors import DataError, InputError, RunError
from brodmann.evaluate import SCORERS, evaluate, sandbox
from brodmann.evaluate.code import check_may_run, gold_rows
from tests.tiny.opened import opened

HEAD = 'def triple(x):\n    """Three times x."""\n'
FUNCTION = "def triple(x):\n    return 3 * x\n"
SCORER = SCORERS.get("code")


def to_complete(answer="    return 3 * x\n", before=HEAD, after="assert triple(2) == 6"):
    code = {"kind": "program", "before": before, "after": after}
    return Example(before, answer, delimiter="", meta={"scorer": "code", "code": code})


def to_write(answer=FUNCTION, after="assert triple(2) == 6"):
    prompt = '"""Write triple."""\n'
    code = {"kind": "program", "before": "", "after": after}
    return Example(prompt, answer, delimiter="", meta={"scorer": "code", "code": code})


def to_read(*cases, fn_name=None, answer="print(int(input()) * 3)\n"):
    code = {"kind": "stdin", "before": "", "cases": cases, "fn_name": fn_name}
    return Example("Triple it.\n", answer, delimiter="", meta={"scorer": "code", "code": code})


def is_right(example, output):
    return SCORER.judge(example, output).correct


@pytest.mark.parametrize(
    "output",
    [
        "    return 3 * x\n",
        "    return 3 * x",
        "    y = 3 * x\n\n    # then\n    return y\n\n\nprint(triple(1))\nraise ValueError",
        "    return 3 * x\ndef other(",
        "    return 3 * x\nclass Other",
        "    return 3 * x\n\nif __name__ == '__main__':\n    exit(",
        "    return 3 * x\n# and so on (",
        "    return 3 * x\n```\nThis triples x.",
        FUNCTION,
        "def triple(x):\n    return 3 * x\n\nassert triple(1) == 4",
        "```python\n" + FUNCTION + "```\nThat is all (I think",
        "Here it is:\n```python\n" + FUNCTION + "```\n",
        "```\n    return 3 * x\n```",
    ],
)
def test_a_function_is_right_whatever_follows_it(output):
    judged = SCORER.judge(to_complete(), output)
    assert judged.correct and judged.parsed is not None


@pytest.mark.parametrize(
    ("output", "parses"),
    [
        ("    return 2 * x\n", True),
        ("    pass\n", True),
        ("    import os; os._exit(0)\n", True),
        ("    raise SystemExit\n", True),
        ("    return 3 * x\n    exit(0", False),
        ("    return 3 *", False),
        ("Sure, I can help you", False),
        ("", False),
        ("\n\n", False),
    ],
)
def test_a_wrong_function_is_wrong_and_parses_if_it_compiles(output, parses):
    judged = SCORER.judge(to_complete(), output)
    assert not judged.correct
    assert (judged.parsed is not None) == parses


def test_a_body_may_go_on_behind_the_indent_of_the_prompt():
    example = to_complete(answer="return 3 * x", before=HEAD + "    ")
    assert is_right(example, "return 3 * x\n")
    assert is_right(example, " return 3 * x\n")  # the last space may be the model's
    assert is_right(example, "y = x\n    return 3 * y\nprint(")
    assert is_right(example, f"```python\n{FUNCTION}```")
    assert not is_right(example, "return x\n")


@pytest.mark.parametrize(
    "output",
    [
        FUNCTION,
        "import math\n\n" + FUNCTION,
        "def three():\n    return 3\n\ndef triple(x):\n    return three() * x\n",
        FUNCTION + '"""\nWrite a function that',
        FUNCTION + "assert triple(1) == 7\n",
        FUNCTION + "print(triple(",
        FUNCTION + "[DONE]\n(",
        FUNCTION + "```\nprose (",
        "triple = lambda x: 3 * x\n",
        "# comment\n" + FUNCTION,
        "'''What it does.'''\n" + FUNCTION,
        "The function:\n\n```python\n" + FUNCTION,
    ],
)
def test_a_whole_program_is_right_up_to_the_next_task(output):
    assert is_right(to_write(), output)


def test_code_in_front_of_the_first_function_is_kept():
    output = "assert True\nprint('start')\n" + FUNCTION + "print('end')\n"
    judged = SCORER.judge(to_write(), output)
    assert judged.parsed == "assert True\nprint('start')\n" + FUNCTION


def test_a_program_cannot_swallow_its_tests():
    for output in (FUNCTION + 'x = """', FUNCTION + "x = [", FUNCTION + "def f(): \\"):
        assert not is_right(to_write(), output)


def test_programs_that_read_and_print():
    example = to_read(("2\n", "6\n"), ("5", "15"))
    for output in (
        "print(int(input()) * 3)",
        "n = int(input())\nprint(n * 3)\nexit()",
        "import sys\nprint(3 * int(sys.stdin.readline()), '  ')\nsys.exit(0)",
        "def main():\n    print(int(input()) * 3)\n\nif __name__ == '__main__':\n    main()\n",
        "```python\nprint(int(input()) * 3)\n```",
        "print(int(input()) * 3)\n'''\nThe next",
    ):
        assert is_right(example, output), output
    for output in (
        "print(6)",
        "input()\nprint('6')\n",
        "print(int(input()) * 3)\nexit(1)",
        "print(int(input()) * 3)\nraise ValueError",
        "print(int(input()) * 3, 'more')",
        "print()\nprint(int(input()) * 3)",
        "",
    ):
        assert not is_right(example, output), output


def test_lines_may_be_given_as_a_list():
    example = to_read((("1", "2"), ("2", "1")))
    assert is_right(example, "a, b = input(), input()\nprint(b)\nprint(a)\n")
    assert not is_right(example, "a, b = input(), input()\nprint(a)\nprint(b)\n")


def test_functions_that_are_called_with_each_case():
    # Mapped types as data sets hold them: tuples for lists, a result that is wrapped or not.
    example = to_read((((1, 2), "a"), (((2, 4), "aa"),)), (((), ""), ((), "")), fn_name="twice")
    body = "return [2 * x for x in xs], 2 * s\n"
    assert is_right(example, f"def twice(xs, s):\n    {body}")
    assert is_right(example, f"class Solution:\n    def twice(self, xs, s):\n        {body}")
    assert not is_right(example, "def twice(xs, s):\n    return xs, s\n")
    assert not is_right(example, "def thrice(xs, s):\n    return xs, s\n")


def test_cases_hold_what_json_can_hold():
    huge = 10**5000 + 1
    cases = [((v,), v) for v in (huge, -3, True, None, 1.5, "a'\"\n\\", {"1": [2]}, "\ud800")]
    assert is_right(to_read(*cases, fn_name="same"), "def same(x):\n    return x\n")
    assert is_right(to_read(((2,), {"2": 2}), fn_name="f"), "def f(x):\n    return {x: x}\n")


def test_a_hostile_program_is_wrong_and_harmless(tmp_path):
    path = tmp_path / "made"
    for attack in (
        f"open({str(path)!r}, 'w')",
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "__import__('os')._exit(0)",
    ):
        assert not is_right(to_write(), f"{attack}\n{FUNCTION}")
    assert not path.exists()


@pytest.mark.parametrize(
    ("output", "complete"),
    [
        ("    return 3", False),
        ("    return 3 * x\n\n", False),
        ("    return 3 * x\n\n    y", False),
        ("    return 3 * x\nd", True),
        ("\n", False),
        ("def triple(x):\n    return", False),
        (FUNCTION + "print(", True),
        ("```python\n" + FUNCTION, False),
        ("```python\n" + FUNCTION + "```", True),
        ("Look:\n```python\n" + FUNCTION, False),
    ],
)
def test_generation_ends_where_the_program_does(output, complete):
    assert SCORER.is_complete(to_complete(), output) == complete


def test_gold_answers_are_run_on_their_own_tests():
    examples = [
        to_complete(),
        to_complete(answer="    return x\n"),
        to_write(),
        to_read(("2", "6")),
        to_read(("2", "7")),
    ]
    rows = gold_rows(examples)
    assert [row["gold_passes"] for row in rows] == [True, False, True, True, False]
    assert [row["index"] for row in rows] == list(range(5))
    assert rows[1]["status"] == "failed" and "AssertionError" in rows[1]["stderr"]


def test_nothing_runs_without_leave(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a program was run")

    monkeypatch.setattr("brodmann.evaluate.code.run_program", never)
    with pytest.raises(InputError, match="Write --allow-code-execution") as raised:
        evaluate(opened("llama"), [to_complete(), Example("1+1=", "2")])
    assert "to score 1 by" in str(raised.value) and "\n" not in str(raised.value)
    evaluate(opened("llama"), [Example("1+1=", "2")])


def test_with_leave_programs_are_generated_and_judged(monkeypatch):
    outputs = {"a": "    return 3 * x\n", "b": "    return x\n", "c": "    return ("}
    examples = [to_complete(before=f"# {name}\n{HEAD}") for name in outputs]
    left = iter(outputs.values())
    monkeypatch.setattr(
        sys.modules["brodmann.evaluate.evaluate"], "decode", lambda *given: next(left)
    )
    result = evaluate(
        opened("llama"), examples, batch_size=1, max_new_tokens=2, allow_code_execution=True
    )
    rows = sorted(result.rows, key=lambda row: row["output"])
    assert [row["correct"] for row in rows] == [False, True, False]
    assert [row["format_ok"] for row in rows] == [False, True, True]
    assert {row["scorer"] for row in rows} == {"code"}
    assert result.chance == 0 and result.accuracy == pytest.approx(1 / 3)


def test_a_tiny_model_writes_no_program():
    (row,) = evaluate(
        opened("llama"), [to_complete()], max_new_tokens=4, allow_code_execution=True
    ).rows
    assert not row["correct"] and row["margin"] is not None


@pytest.mark.parametrize(
    "code", [None, {}, {"kind": "program"}, {"kind": "other"}, "print(1)", {"kind": "stdin"}]
)
def test_an_example_without_tests(code):
    example = Example("x", "y", meta={"scorer": "code"} | ({} if code is None else {"code": code}))
    with pytest.raises(DataError, match=r"Expected tests in meta\['code'\]"):
        check_may_run([example], True)
    with pytest.raises(DataError, match="the scorer 'code'"):
        evaluate(opened("llama"), [example], allow_code_execution=True)


def test_no_cases_prove_nothing():
    with pytest.raises(DataError, match="Expected cases"):
        check_may_run([to_read()], True)


def test_a_system_that_cannot_lock_down_refuses_before_the_model_runs(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(RunError, match="Expected Linux"):
        evaluate(opened("llama"), [to_complete()], allow_code_execution=True)
    check_may_run([], True)


def test_the_command_asks_for_leave(tmp_path):
    from tests.cli.conftest import run_here
    from tests.tiny import tiny_model

    hf, tokenizer = tiny_model("llama")
    hf.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    example = to_complete()
    row = {
        "prompt": example.prompt,
        "answer": example.answer,
        "delimiter": "",
        "meta": example.meta,
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    words = ("evaluate", "--model", tmp_path / "model", "--data", tmp_path / "rows.jsonl")
    words += ("--split", "all", "--json")
    refused = run_here(*words)
    assert refused.returncode == 2 and "--allow-code-execution" in refused.stderr
    allowed = run_here(*words, "--allow-code-execution")
    assert allowed.returncode == 0, allowed.stderr
    (found,) = json.loads(allowed.stdout)["rows"]
    assert found["scorer"] == "code" and found["correct"] is False
