"""Programs to write: humaneval, mbpp and apps with tests; codexglue and code25k without.

``meta["code"]`` of a set with tests says how a program is tested. Either the continuation is put
between two texts and run, ``{"kind": "program", "before": ..., "after": ...}``, where ``before``
ends in the example's delimiter if a function that has begun goes on; or the program reads and
writes, ``{"kind": "stdin", "before": ..., "cases": [[input, output], ...], "fn_name": ...}``,
where ``fn_name`` is the function to call with each input, or null for a whole program.
"""

import json
import re
from decimal import Decimal
from typing import Any

from brodmann.data.families.loading import register
from brodmann.data.families.official_files import problem_folder, table
from brodmann.data.families.task_set import Files, HubSource, Part, TaskSet, Values
from brodmann.errors import DataError

_FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_DOCSTRING = '"""\n{asked}\n"""\n'
_ENVIRONMENT = "concode_field_sep"
_MBPP_TEST_IDS = range(11, 511)


def _humaneval(values: Values, where: str) -> Values | None:
    return {**values, "answer": values["solution"]}


def _humaneval_tests(values: Values, where: str) -> Values:
    """Put all that the model reads in front: the white space of the body's first line too."""
    solution = str(values["solution"])
    indent = solution[: len(solution) - len(solution.lstrip())]
    after = f"\n{values['test']}\ncheck({values['entry_point']})\n"
    return {"kind": "program", "before": values["prompt"] + indent, "after": after}


def _mbpp(values: Values, where: str) -> Values | None:
    tests = values["tests"]
    if not isinstance(tests, list | tuple) or not tests:
        raise DataError(f"Expected a list of tests in {where}; got {tests!r:.60}.")
    shown = "\n".join(map(str, tests))
    asked = f"{str(values['text']).strip()}\nYour code should pass these tests:\n{shown}"
    return {**values, "asked": asked, "answer": values["code"]}


def _mbpp_tests(values: Values, where: str) -> Values:
    before = "".join(f"{text}\n" for text in map(str, values["imports"]) if text)
    # The set-up belongs to the tests: some of it uses a class that the answer defines.
    lines = [str(values["setup"]), *map(str, values["tests"])]
    after = "".join(f"\n{line}" for line in lines if line)
    return {"kind": "program", "before": before, "after": f"\n{after}\n"}


def _mbpp_part(values: Values) -> Part:
    """Return the part of a row: ids 11 to 510 are the official test rows."""
    digits = re.search(r"\d+$", str(values["id"]))
    return "test" if digits and int(digits[0]) in _MBPP_TEST_IDS else "train"


def _apps(values: Values, where: str) -> Values | None:
    solutions = _parsed(values["solutions"], f"solutions of {where}")
    if not solutions or not values["input_output"]:
        return None
    starter = str(values["starter_code"]).strip()
    how = f"Complete this code:\n{starter}" if starter else "Read standard input, print the answer."
    asked = f"{str(values['question']).strip()}\n{how}"
    return {**values, "asked": asked, "answer": solutions[0]}


def _apps_tests(values: Values, where: str) -> Values:
    found = _parsed(values["input_output"], f"input_output of {where}")
    if not isinstance(found, dict) or not {"inputs", "outputs"} <= found.keys():
        raise DataError(f"Expected inputs and outputs in {where}; got {type(found).__name__}.")
    cases = [[given, wanted] for given, wanted in zip(found["inputs"], found["outputs"])]  # noqa: B905
    return {"kind": "stdin", "before": "", "cases": cases, "fn_name": found.get("fn_name")}


def _parsed(value: Any, what: str) -> Any:
    """Return what a column of JSON text holds; a column that was parsed already as it is."""
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        # Some tests of APPS have more digits than int() takes from text.
        return json.loads(value, parse_int=lambda digits: int(Decimal(digits)))
    except ValueError as error:
        raise DataError(f"Expected JSON as the {what}; got: {error}.") from None


def _concode(values: Values, where: str) -> Values | None:
    """Take the description alone: the members of the class behind it fill a small context."""
    asked = str(values["nl"]).partition(_ENVIRONMENT)[0]
    return {**values, "asked": " ".join(asked.split()), "answer": values["code"]}


def _code25k(values: Values, where: str) -> Values | None:
    fenced = _FENCE.search(str(values["output"]))
    code = fenced[1] if fenced else str(values["output"])
    return {**values, "asked": str(values["instruction"]).strip(), "answer": code.strip("`\n")}


register(
    TaskSet(
        name="humaneval",
        family="program",
        summary="Python functions to complete from a docstring, with hidden tests",
        licence="MIT",
        hub=HubSource("openai/openai_humaneval"),
        files=(Files(table, whole=("HumanEval.jsonl.gz", "HumanEval.jsonl")),),
        folders=("HumanEval", "human-eval/data", "openai_humaneval"),
        columns={
            "prompt": ("prompt",),
            "solution": ("canonical_solution", "answer"),
            "test": ("test", "tests"),
            "entry_point": ("entry_point",),
        },
        optional={"id": ("task_id", "id")},
        fields=_humaneval,
        template="{prompt}",
        delimiter="",
        scorer="code",
        key=("prompt",),
        is_divided=True,
        tests=_humaneval_tests,
    )
)
register(
    TaskSet(
        name="mbpp",
        family="program",
        summary="Short Python functions from one sentence and three tests",
        licence="CC BY 4.0",
        hub=HubSource(
            "google-research-datasets/mbpp", "full", train=("train", "validation", "prompt")
        ),
        files=(Files(table, whole=("mbpp.jsonl",)),),
        folders=("MBPP",),
        columns={
            "text": ("text", "question"),
            "code": ("code", "answer"),
            "tests": ("test_list", "tests"),
            "id": ("task_id", "id"),
        },
        optional={"setup": ("test_setup_code", "test_setup"), "imports": ("test_imports",)},
        fields=_mbpp,
        template=_DOCSTRING,
        delimiter="",
        scorer="code",
        key=("text",),
        place=_mbpp_part,
        tests=_mbpp_tests,
    )
)
register(
    TaskSet(
        name="apps",
        family="program",
        summary="Contest problems with tests on standard input or on a function; solved ones",
        licence="MIT",
        # The authors' set on the hub (codeparrot/apps) is a script, which is never run.
        hub=HubSource("metr-evals/apps"),
        files=(
            Files(problem_folder, train=("train/*/question.txt",), test=("test/*/question.txt",)),
        ),
        folders=("APPS",),
        columns={
            "question": ("question",),
            "solutions": ("solutions",),
            "input_output": ("input_output",),
        },
        optional={"starter_code": ("starter_code",), "id": ("problem_id", "id")},
        fields=_apps,
        template=_DOCSTRING,
        delimiter="",
        scorer="code",
        key=("question",),
        tests=_apps_tests,
    )
)
register(
    TaskSet(
        name="codexglue",
        family="program",
        summary="CodeXGLUE text-to-code (CONCODE): Java methods from a description, in tokens",
        licence="C-UDA",
        # The test part has no answers; the part for validation takes its place.
        hub=HubSource("google/code_x_glue_tc_text_to_code", test=("validation",)),
        files=(Files(table, train=("train.json",), test=("dev.json", "test.json")),),
        folders=(
            "codexglue_concode",
            "concode",
            "CodeXGLUE/Text-Code/text-to-code/dataset/concode",
        ),
        columns={"nl": ("nl", "question"), "code": ("code", "answer")},
        optional={"id": ("id",)},
        fields=_concode,
        template="// {asked}\n",
        delimiter="",
        scorer="code_text",
        key=("asked",),
    )
)
register(
    TaskSet(
        name="code25k",
        family="program",
        summary="python-codes-25k: Python code from an instruction, without its fence",
        licence="MIT (its page on the hub)",
        hub=HubSource("flytech/python-codes-25k"),
        files=(Files(table, whole=("python-codes-25k.json*", "python-codes-25k*.parquet")),),
        folders=("python-codes-25k", "Code25K"),
        columns={"instruction": ("instruction",), "output": ("output",)},
        optional={"id": ("id",)},
        fields=_code25k,
        template=_DOCSTRING,
        delimiter="",
        scorer="code_text",
        key=("instruction",),
        is_divided=True,
    )
)
