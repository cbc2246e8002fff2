"""The options of an arithmetic spec, checked; and which operators its part names."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from brodmann.data.arithmetic.expressions import MAX_OPERATORS, OPERATORS, Bounds
from brodmann.data.arithmetic.templates import Language, TaskName, Wording
from brodmann.data.spec import DataSpec
from brodmann.errors import DataError, UnknownNameError

OPTIONS = {
    "task": "dg|mq|tf: direct generation (default), multiple choice, true or false",
    "lang": "en|zh: the language of the prompt (default en)",
    "shots": "solved examples of the same task in front, operators mixed (default 0)",
    "max": "largest operand (default 999); division draws divisor and quotient up to it",
    "min": "smallest operand (default 1; 0 or more); divisors are never 0",
    "template": "paper (default) or plain: 7*3=21",
    "answers": "free (default), or matched: every operator has the same answers",
    "repeat": "true|false: an expression may come again behind other solved examples",
    "order": "shuffled (default), or sorted by operators and operands; the same rows",
    "negative": "true|false: sums and results may be negative (default false)",
}
"""Each option with one line of help."""

MAX_SHOTS = 64
_LARGEST = 10**9
_COUNTS = tuple(f"{n}op" for n in range(1, MAX_OPERATORS + 1))


@dataclass(frozen=True)
class Options:
    """What an arithmetic spec asks for; every field is one option of the spec.

    Attributes:
        combinations: the sets of operators that take turns, each in canonical order.
        bounds: ``min``, ``max`` and ``negative``.
        task, lang, template, shots: how an expression becomes a prompt.
        matched: whether ``answers=matched``.
        repeat: whether expressions may repeat.
        is_sorted: whether ``order=sorted``.
        name: the spec, for errors.
    """

    combinations: tuple[tuple[str, ...], ...]
    bounds: Bounds
    task: TaskName
    lang: Language
    template: Wording
    shots: int
    matched: bool
    repeat: bool
    is_sorted: bool
    name: str


def parse(spec: DataSpec) -> Options:
    """Check the options of an arithmetic spec.

    Raises:
        UnknownNameError: for a value that is not one of an option's list.
        DataError: for a number out of range, or options that do not go together.
    """
    options = Options(
        combinations=combinations(spec.part),
        bounds=_bounds(spec),
        task=cast(TaskName, _choice(spec, "task", get_args(TaskName))),
        lang=cast(Language, _choice(spec, "lang", get_args(Language))),
        template=cast(Wording, _choice(spec, "template", get_args(Wording))),
        shots=_number(spec, "shots", 0, 0, MAX_SHOTS),
        matched=_choice(spec, "answers", ("free", "matched")) == "matched",
        repeat=_choice(spec, "repeat", ("false", "true")) == "true",
        is_sorted=_choice(spec, "order", ("shuffled", "sorted")) == "sorted",
        name=str(spec),
    )
    if options.matched and len(options.combinations[0]) > 1:
        raise DataError(
            "Expected one operator with answers=matched, such as arithmetic/add; "
            f"got 'arithmetic/{spec.part}'."
        )
    if options.repeat and options.shots == 0:
        raise DataError(
            "Expected shots=1 or more with repeat=true: without solved examples in front, "
            f"repeated rows would be copies; got '{spec}'."
        )
    return options


def canonical_part(part: str) -> str:
    """Return the one spelling of an arithmetic part: names in the order add, sub, mul, div.

    Five operators repeat one, and its second mention comes last: ``add-sub-mul-div-add``.
    No part at all is ``1op``.

    Raises:
        UnknownNameError: for a name that is not an operator.
        DataError: for more than five operators.
    """
    if part in ("", *_COUNTS):
        return part or "1op"
    names = part.split("-")
    for name in names:
        if name not in OPERATORS:
            known = (*OPERATORS, *_COUNTS) if len(names) == 1 else OPERATORS
            raise UnknownNameError("part of arithmetic", name, known)
    if len(names) > MAX_OPERATORS:
        raise DataError(
            f"Expected at most {MAX_OPERATORS} operators joined by -; got {len(names)}: '{part}'."
        )
    return "-".join(in_order(names))


def combinations(part: str) -> tuple[tuple[str, ...], ...]:
    """Return the sets of operators that a part stands for; they take turns, equally often.

    ``add-mul`` is one set. ``2op`` is all six pairs, ``3op`` all four triples, ``4op`` all
    operators once, ``5op`` all operators and one of them again (dcsn.txt, Appendix A), so that
    each operator occurs equally often.
    """
    part = canonical_part(part)
    if part not in _COUNTS:
        return (tuple(part.split("-")),)
    return of_length(int(part[0]))


def of_length(n: int) -> tuple[tuple[str, ...], ...]:
    """Return the sets of ``n`` operators: all different ones up to 4, one repeated for 5."""
    if n <= len(OPERATORS):
        return tuple(itertools.combinations(OPERATORS, n))
    return tuple((*OPERATORS, repeated) for repeated in OPERATORS)


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Return operators in canonical order; those that are there again come last."""
    once = [name for name in OPERATORS if name in names]
    again = [name for name in OPERATORS for _ in range(names.count(name) - 1)]
    return (*once, *again)


def _bounds(spec: DataSpec) -> Bounds:
    smallest = _number(spec, "min", 1, 0, _LARGEST)
    largest = _number(spec, "max", 999, 1, _LARGEST)
    if smallest > largest:
        raise DataError(f"Expected min= up to max=; got min={smallest} and max={largest}.")
    return Bounds(smallest, largest, _choice(spec, "negative", ("false", "true")) == "true")


def _choice(spec: DataSpec, option: str, known: tuple[str, ...]) -> str:
    """Return an option's value; the first of ``known`` is the default."""
    given = spec.options.get(option, known[0])
    if given not in known:
        raise UnknownNameError(f"value of {option}=", given, known)
    return given


def _number(spec: DataSpec, option: str, default: int, low: int, high: int) -> int:
    given = spec.options.get(option, str(default))
    if given.isascii() and given.isdigit() and len(given) < 20 and low <= int(given) <= high:
        return int(given)
    raise DataError(f"Expected {option}= a whole number from {low} to {high}; got '{given}'.")
