"""The words around an expression: the paper's templates, and plain ones for small models.

English: dcsn.txt, Table 1. The paper translated its prompts by machine and did not print them;
the Chinese templates here are our own translation. ``plain`` is the notation itself, which small
base models continue far better than the long sentences. Solved examples stand one per line.
"""

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["dg", "mq", "tf"]
"""Direct generation, multiple-choice question, true or false."""

Language = Literal["en", "zh"]
Wording = Literal["paper", "plain"]


@dataclass(frozen=True)
class Template:
    """How one task reads in one language.

    Attributes:
        prompt: the text in front of the answer; ``{expression}``, and ``{a}`` to ``{d}`` (the
            options of a multiple-choice question) or ``{shown}`` (the result to be judged).
        delimiter: what stands between prompt and answer.
        choices: the possible answers; none for direct generation. True comes before false.
    """

    prompt: str
    delimiter: str
    choices: tuple[str, ...] = ()


LETTERS = ("a", "b", "c", "d")

TEMPLATES: dict[tuple[Wording, Language, TaskName], Template] = {
    ("paper", "en", "dg"): Template(
        'Based on the given expression "{expression}=?", please provide the answer directly:',
        " ",
    ),
    ("paper", "en", "mq"): Template(
        'Based on the given expression "{expression}=?", the following options are provided: '
        "(a) {a}, (b) {b}, (c) {c}, and (d) {d}. Please select the correct option:",
        " ",
        LETTERS,
    ),
    ("paper", "en", "tf"): Template(
        'Based on the given expression "{expression}={shown}", '
        "please determine whether it is correct:",
        " ",
        ("Yes", "No"),
    ),
    ("paper", "zh", "dg"): Template("根据给定的算式“{expression}=?”，请直接给出答案：", ""),
    ("paper", "zh", "mq"): Template(
        "根据给定的算式“{expression}=?”，有以下选项："
        "(a) {a}，(b) {b}，(c) {c}，(d) {d}。请选出正确的选项：",
        "",
        LETTERS,
    ),
    ("paper", "zh", "tf"): Template(
        "根据给定的算式“{expression}={shown}”，请判断它是否正确：", "", ("是", "否")
    ),
    ("plain", "en", "dg"): Template("{expression}=", ""),
    ("plain", "en", "mq"): Template(
        "{expression}=? (a) {a} (b) {b} (c) {c} (d) {d} Answer:", " ", LETTERS
    ),
    ("plain", "en", "tf"): Template("{expression}={shown} Correct?", " ", ("Yes", "No")),
    ("plain", "zh", "dg"): Template("{expression}=", ""),
    ("plain", "zh", "mq"): Template(
        "{expression}=? (a) {a} (b) {b} (c) {c} (d) {d} 答案：", "", LETTERS
    ),
    ("plain", "zh", "tf"): Template("{expression}={shown} 对吗？", "", ("是", "否")),
}
