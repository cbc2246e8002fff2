"""Word problems with a number or a letter as the answer: gsm8k, metamath, svamp, mathqa, amc."""

import re
from decimal import Decimal
from typing import Any

from brodmann.data.families.loading import register
from brodmann.data.families.official_files import table
from brodmann.data.families.task_set import Files, HubSource, TaskSet, Values

_NUMBER = re.compile(r"[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")
_OPTION = re.compile(r"(?<![a-z])([a-e]) \)(.*?)(?=,?\s*(?<![a-z])[a-e] \)|$)", re.DOTALL)
_QUESTION = "Question: {question}\nAnswer:"


def plain_number(value: Any) -> str | None:
    """Return a number as it is written plainly ("$1,200.0" is 1200); None for anything else."""
    text = str(value).strip().rstrip(".").strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = Decimal(re.sub(r"[,$]", "", text))
    whole = number == number.to_integral_value()
    return str(int(number)) if whole else f"{number.normalize():f}"


def behind(mark: str, text: str) -> str:
    """Return what stands behind the last ``mark``; the whole text where there is none."""
    return text.rpartition(mark)[2]


def options_of(text: str) -> dict[str, str]:
    """Return the options of ``"a ) 38 , b ) 27.675 , c ) 30"`` by their letters."""
    return {letter: words.strip(" ,'\"[]") for letter, words in _OPTION.findall(text)}


def _gsm8k(values: Values, where: str) -> Values | None:
    return {**values, "answer": plain_number(behind("####", str(values["solution"])))}


def _metamath(values: Values, where: str) -> Values | None:
    return {**values, "answer": plain_number(behind("The answer is:", str(values["solution"])))}


def _svamp(values: Values, where: str) -> Values | None:
    body, asked = str(values["body"]).strip(), str(values["asked"]).strip()
    joint = " " if body.endswith((".", "!", "?")) else ", "
    return {**values, "question": body + joint + asked, "answer": plain_number(values["answer"])}


def _mathqa(values: Values, where: str) -> Values | None:
    options = options_of(str(values["options"]))
    letter = str(values["correct"]).strip()
    if list(options) != list("abcde") or letter not in options:
        return None
    listed = "\n".join(f"{name}) {words}" for name, words in options.items())
    return {**values, "listed": listed, "answer": letter}


def _amc(values: Values, where: str) -> Values | None:
    return {**values, "answer": plain_number(values["answer"])}


register(
    TaskSet(
        name="gsm8k",
        family="math",
        summary="Grade-school word problems; the answer is the number behind ####",
        licence="MIT",
        hub=HubSource("openai/gsm8k", "main"),
        files=(Files(table, train=("train.jsonl",), test=("test.jsonl",)),),
        folders=("grade_school_math/data", "grade-school-math/grade_school_math/data"),
        columns={"question": ("question",), "solution": ("solution", "answer")},
        optional={"id": ("id",)},
        fields=_gsm8k,
        template=_QUESTION,
        scorer="number",
        key=("question",),
    )
)
register(
    TaskSet(
        name="metamath",
        family="math",
        summary="MetaMathQA: problems of GSM8K and MATH, rewritten; those answered by a number",
        licence="MIT (its page on the hub); GSM8K and MATH behind it are MIT",
        hub=HubSource("meta-math/MetaMathQA"),
        files=(Files(table, whole=("MetaMathQA-395K.json", "MetaMathQA*.json*")),),
        folders=("MetaMathQA", "meta_math", "metamathqa"),
        columns={"question": ("query", "question"), "solution": ("response", "answer")},
        optional={"id": ("id",), "origin": ("original_question",)},
        fields=_metamath,
        template=_QUESTION,
        scorer="number",
        key=("question",),
        is_divided=True,
    )
)
register(
    TaskSet(
        name="svamp",
        family="math",
        summary="One-step word problems with varied wording",
        licence="MIT",
        hub=HubSource("ChilleD/SVAMP"),
        files=(Files(table, whole=("SVAMP.json",)),),
        folders=("SVAMP",),
        columns={
            "body": ("Body", "body"),
            "asked": ("Question", "question_part"),
            "answer": ("Answer", "answer"),
        },
        optional={"id": ("ID", "id")},
        fields=_svamp,
        template=_QUESTION,
        scorer="number",
        key=("question",),
        is_divided=True,
    )
)
register(
    TaskSet(
        name="mathqa",
        family="math",
        summary="Word problems with five options; the answer is a letter",
        licence="Apache-2.0",
        # The set itself is a script, which is never run; this branch is its converted form.
        hub=HubSource("allenai/math_qa@refs/convert/parquet"),
        files=(Files(table, train=("train.json",), test=("test.json",)),),
        folders=("MathQA", "math_qa"),
        columns={"problem": ("Problem",), "options": ("options",), "correct": ("correct",)},
        optional={"id": ("id",)},
        fields=_mathqa,
        template="Question: {problem}\nOptions:\n{listed}\nAnswer:",
        scorer="choice",
        choices=tuple("abcde"),
        key=("problem",),
    )
)
register(
    TaskSet(
        name="amc",
        family="math",
        summary="Problems of the American Mathematics Competitions 2022 and 2023, whole answers",
        licence="the problems are the MAA's; see its page on the hub",
        hub=HubSource("AI-MO/aimo-validation-amc"),
        files=(Files(table, whole=("aimo-validation-amc*", "amc.jsonl")),),
        folders=("aimo-validation-amc", "AMC"),
        columns={"question": ("problem", "question"), "answer": ("answer",)},
        optional={"id": ("id",)},
        fields=_amc,
        template=_QUESTION,
        scorer="number",
        key=("question",),
        is_divided=True,
    )
)
