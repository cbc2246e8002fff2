"""The scorer "code": a program is right when its tests pass (methods.md §11).

What is tested stands in ``meta["code"]``, in one of two forms::

    {"kind": "program", "before": TEXT, "after": TEXT}
    {"kind": "stdin", "before": TEXT, "cases": ((INPUT, OUTPUT), ...), "fn_name": NAME or None}

The program is ``before`` with the continuation behind it. In the first form ``after`` must run to
its end behind that. In the second the program reads each input and must print the output, texts or
lists of lines; where a function is named (or a method of ``Solution``), each input is the list of
its arguments, and each output what it must return, in JSON's types.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from brodmann.data.example import Example
from brodmann.errors import DataError, InputError
from brodmann.evaluate.sandbox import Outcome, run_program
from brodmann.evaluate.scoring import SCORERS, Judgement, Scorer

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n?", re.MULTILINE)
_LOOKS_LIKE_CODE = re.compile(r"^(?:def |class |import |from |@|[\w, ]+=| {4}|\t)", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async def|def|class)\b")
_AFTER_PROGRAM = re.compile(r"\"\"\"|'''|\[DONE\]|\[BEGIN\]|Question:|</")
_AFTER_FUNCTION = re.compile(r"assert\b|print\(|if __name__\b")
_CALL = """
def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {{str(name): _plain(part) for name, part in value.items()}}
    return value

_called = globals()["{name}"] if "{name}" in globals() else Solution().{name}
for _given, _expected in {cases}:
    _returned = _plain(_called(*_given))
    assert _returned == _expected or [_returned] == _expected
"""


class _Cut(NamedTuple):
    """The part of a continuation that is the program, and whether something ended it."""

    text: str
    ended: bool


class CodeScorer(Scorer):
    """Judges by running tests; the caller must have asked :func:`check_may_run` before."""

    def is_complete(self, example: Example, output: str) -> bool:
        """Tell whether what follows the function or program has begun."""
        return _cut(_tests(example), output).ended

    def judge(self, example: Example, output: str) -> Judgement:
        """Run the tests. What parses is a program that Python can compile."""
        tests = _tests(example)
        text = _cut(tests, output).text
        outcomes = _run(tests, output) if text.strip() else []
        compiled = bool(outcomes) and outcomes[0].compiled
        return Judgement(text if compiled else None, _right(tests, outcomes))


def check_may_run(examples: Sequence[Example], allowed: bool) -> None:
    """Refuse to score programs that may not be run, have no tests, or cannot be locked down.

    Args:
        examples: those with programs; with none there is nothing to refuse.
        allowed: whether the user has allowed to run what a model writes.

    Raises:
        InputError: when it is not allowed.
        DataError: when one has no tests.
        RunError: when this system offers no way to lock a program down.
    """
    if not examples:
        return
    if not allowed:
        raise InputError(
            f"Expected leave to run programs that the model writes, to score {len(examples)} by "
            "their tests; there is none. Write --allow-code-execution (allow_code_execution=True): "
            "each runs in a child without network and without writing, under limits."
        )
    for example in examples:
        _tests(example)
    run_program("")


def gold_rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Run the tests of code examples on their own gold answers, which no model wrote.

    A data set whose gold answers fail cannot be scored by its tests. They run locked down too.

    Returns:
        For each example a row: ``index``, ``gold_passes``, ``status`` of the last program that
        ran, and the end of its ``stderr``.

    Raises:
        DataError: when an example has no tests.
        RunError: when programs cannot be locked down here.
    """
    rows = []
    for index, example in enumerate(examples):
        tests = _tests(example)
        outcomes = _run(tests, example.answer)
        last = outcomes[-1]
        row = {"index": index, "gold_passes": _right(tests, outcomes), "status": last.status}
        rows.append(row | {"stderr": last.stderr[-200:]})
    return rows


def _tests(example: Example) -> Mapping[str, Any]:
    found = example.meta.get("code")
    wanted = {"program": ("before", "after"), "stdin": ("before", "cases", "fn_name")}
    names = wanted.get(found.get("kind", ""), ()) if isinstance(found, Mapping) else ()
    if not isinstance(found, Mapping) or not names or any(name not in found for name in names):
        raise DataError(
            "Expected tests in meta['code'], of kind 'program' or 'stdin', for the scorer 'code'; "
            f"the example {example.prompt[:40]!r} has none. Name another scorer."
        )
    if found["kind"] == "stdin" and not found["cases"]:
        raise DataError(f"Expected cases to test; the example {example.prompt[:40]!r} has none.")
    return found


def _run(tests: Mapping[str, Any], output: str) -> list[Outcome]:
    """Run a program on its tests, up to the first that is not right."""
    before, text = tests["before"], _cut(tests, output).text
    if not _goes_on_with_a_body(before, output):
        before = before.rstrip(" \t")  # what is written anew begins at the margin
    elif before.endswith((" ", "\t")):
        text = text.lstrip(" \t")  # the tokenizer decides whose the last space of an indent is
    program = before + text + "\n"
    if tests["kind"] == "program":
        return [run_program(program, then=tests["after"])]
    if name := tests["fn_name"]:
        cases = _literal(tests["cases"])
        return [run_program(program, then=_CALL.format(name=name, cases=cases))]
    outcomes = []
    for given, expected in tests["cases"]:
        outcomes.append(run_program(program, stdin=_text(given)))
        if not _printed(outcomes[-1], expected):
            break
    return outcomes


def _literal(value: Any) -> str:
    """Write a value as Python; integers by 16, which no limit of digits holds for."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {_literal(part)}' for name, part in value.items())}}}"
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return hex(value) if is_integer else repr(value)


def _text(lines: str | Sequence[str]) -> str:
    return lines if isinstance(lines, str) else "\n".join(map(str, lines))


def _right(tests: Mapping[str, Any], outcomes: Sequence[Outcome]) -> bool:
    if not outcomes:
        return False
    if tests["kind"] == "program" or tests["fn_name"]:
        return outcomes[-1].status == "passed"
    cases = tests["cases"]
    return len(outcomes) == len(cases) and _printed(outcomes[-1], cases[-1][1])


def _printed(outcome: Outcome, expected: str | Sequence[str]) -> bool:
    """Tell whether a program ended well (``exit()`` too) and printed what it should."""
    return outcome.exit_code == 0 and _lines(outcome.stdout) == _lines(_text(expected))


def _lines(text: str) -> list[str]:
    """The lines without white space at their ends, and without empty ones at the end of all."""
    return [part.rstrip() for part in text.rstrip().splitlines()]


def _cut(tests: Mapping[str, Any], output: str) -> _Cut:
    if _goes_on_with_a_body(tests["before"], output):
        return _body(output)
    text, closed = _unfenced(output)
    found = _program(text, only_functions=tests["kind"] == "program" or bool(tests["fn_name"]))
    return _Cut(found.text, found.ended or closed)


def _goes_on_with_a_body(before: str, output: str) -> bool:
    """Tell whether a function that has begun goes on; a model may also write it anew."""
    last = before.rstrip().rpartition("\n")[2]
    first = next((line for line in output.splitlines() if line.strip()), "")
    if not (last[:1].isspace() or last.endswith(":")) or first.lstrip().startswith("```"):
        return False
    return first[:1].isspace() or not before.endswith("\n")


def _body(output: str) -> _Cut:
    """Cut behind the lines that are indented; the first continues the line in front of it."""
    lines = output.splitlines(keepends=True)
    for index, text in enumerate(lines[1:], 1):
        if text.strip() and not text[0].isspace() and "".join(lines[:index]).strip():
            return _Cut("".join(lines[:index]), True)
    return _Cut(output, False)


def _unfenced(output: str) -> _Cut:
    """Take code out of a Markdown fence; a fence behind code only ends it."""
    opened = _FENCE.search(output)
    if opened is None:
        return _Cut(output, False)
    if _LOOKS_LIKE_CODE.search(output[: opened.start()]):
        return _Cut(output[: opened.start()], True)
    closing = _FENCE.search(output, opened.end())
    return _Cut(output[opened.end() : closing.start() if closing else None], closing is not None)


def _program(text: str, only_functions: bool) -> _Cut:
    """Cut where the next task begins, and behind functions where they are used or tried."""
    defined = False
    lines = text.splitlines(keepends=True)
    for index, one in enumerate(lines):
        ends = _AFTER_PROGRAM.match(one) or (only_functions and _AFTER_FUNCTION.match(one))
        if ends and (defined or not only_functions) and "".join(lines[:index]).strip():
            return _Cut("".join(lines[:index]), True)
        defined = defined or bool(_DEFINITION.match(one))
    return _Cut(text, False)


def _program_text(text: str, choices: Sequence[str] = ()) -> str | None:
    return text if text.strip() else None


def _never(text: str) -> bool:
    return False


SCORERS.add("code", CodeScorer("code", _program_text, _never, room=256))
