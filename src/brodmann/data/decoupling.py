"""Decoupling knowledge from capability: one expression, asked for its value and asked for as code.

cnl.txt §4.1 puts "the correct answer for 1+1=?" beside "Python code for 1+1=?": the same
expression, two tasks. Here 1,000 expressions of one operator, + - * / in turn;
``decoupling/answer`` and ``decoupling/code`` hold the same expressions in the same order,
``decoupling`` both requests of each. Two requests of one ``meta["expression"]`` are a pair. The
paper gives the two phrases and no template; ``template=own`` asks in other words of ours.

Every program begins alike (``print(``), so that programs share more than their task: their first
answer token. ``code=assert`` begins with the value instead, as the answer does.
"""

import itertools
from collections.abc import Sequence

from brodmann.data.arithmetic.draws import free_draws
from brodmann.data.arithmetic.expressions import OPERATORS, Bounds, Expression
from brodmann.data.arithmetic.membership import belongs
from brodmann.data.example import Example
from brodmann.data.registry import DATASETS, NamedSet
from brodmann.data.spec import DataSpec
from brodmann.data.split import Subset
from brodmann.errors import DataError, UnknownNameError

COUNT = 1000
"""Expressions of the set (cnl.txt §4.1)."""

TASKS = ("answer", "code")
BOTH = "pairs"

OPTIONS = {
    "template": "paper (default: the paper's phrases) or own: the same requests in our words",
    "code": "print (default): print(1+1), or assert: the program begins with the value, 2 == 1+1",
    "max": "largest operand (default 99); division draws divisor and quotient up to it",
}

_ANSWER = {
    "paper": 'Provide the correct answer for "{}=?":',
    "own": "Q: How much is {}?\nA:",
}
_CODE = {
    ("paper", "print"): 'Program as Python code for "{}=?":',
    ("paper", "assert"): 'Program as Python code for "{}=?": assert',
    ("own", "print"): "Q: Which Python statement shows {}?\nA:",
    ("own", "assert"): "Q: Which Python statement checks {}?\nA: assert",
}
_LARGEST = 10**6


def load_decoupling(spec: DataSpec, subset: Subset, limit: int | None) -> list[Example]:
    """Generate requests for the value of expressions, for code, or both.

    Args:
        spec: the spec; its part is ``answer``, ``code`` or ``pairs``.
        subset: the split and part; both requests of an expression are on the same side.
        limit: the first so many requests; None: all.

    Raises:
        UnknownNameError: for a value that is not one of an option's list.
        DataError: for operands out of range, more requests than there are, or half a pair.
    """
    template = _choice(spec, "template", tuple(_ANSWER))
    code = _choice(spec, "code", ("print", "assert"))
    tasks = TASKS if spec.part == BOTH else (spec.part,)
    if limit is not None and limit % len(tasks):
        raise DataError(f"Expected an even limit for pairs; got {limit}. Write {limit + 1}.")
    held = [one for one in _expressions(_largest(spec), subset.seed) if belongs(one, subset)]
    most = len(held) * len(tasks)
    if not held or (limit is not None and limit > most):
        raise DataError(
            f"Expected a limit of at most {most}, the number of requests of '{spec}' ({subset}); "
            f"got {'none' if limit is None else limit}. Raise max= where there are few."
        )
    kept = held if limit is None else held[: limit // len(tasks)]
    return [_example(one, task, template, code) for one in kept for task in tasks]


def canonical_part(part: str) -> str:
    """Return the part's one spelling: both requests without one.

    Raises:
        UnknownNameError: for anything but ``answer``, ``code`` and ``pairs``.
    """
    known = (*TASKS, BOTH)
    if part and part not in known:
        raise UnknownNameError("part of decoupling", part, known)
    return part or BOTH


def _expressions(largest: int, seed: int) -> list[Expression]:
    """Return the set's expressions, operators in turn; fewer where operands run out."""
    each = COUNT // len(OPERATORS)
    everything = Subset("all", seed)
    drawn = [free_draws((name,), Bounds(1, largest), everything, each) for name in OPERATORS]
    turns = itertools.zip_longest(*drawn)
    return [one for turn in turns for one in turn if one is not None]


def _example(expression: Expression, task: str, template: str, code: str) -> Example:
    value = str(expression.value)
    if task == "answer":
        prompt, answer, scorer = _ANSWER[template], value, "integer"
    else:
        program = f"print({expression})" if code == "print" else f"{value} == {expression}"
        prompt, answer, scorer = _CODE[template, code], program, "code_text"
    meta = {
        "scorer": scorer,
        "capability": task,
        "expression": str(expression),
        "operators": expression.operators,
        "value": expression.value,
    }
    return Example(prompt.format(expression), answer, meta=meta)


def _choice(spec: DataSpec, option: str, known: Sequence[str]) -> str:
    """Return an option's value; the first of ``known`` is the default."""
    given = spec.options.get(option, known[0])
    if given not in known:
        raise UnknownNameError(f"value of {option}=", given, known)
    return given


def _largest(spec: DataSpec) -> int:
    given = spec.options.get("max", "99")
    if given.isascii() and given.isdigit() and len(given) < 20 and 1 <= int(given) <= _LARGEST:
        return int(given)
    raise DataError(f"Expected max= a whole number from 1 to {_LARGEST}; got '{given}'.")


DATASETS.add(
    "decoupling",
    NamedSet(
        summary="One expression asked for its value and for code (decoupling/answer, /code)",
        options=OPTIONS,
        load=load_decoupling,
        canonical_part=canonical_part,
    ),
)
