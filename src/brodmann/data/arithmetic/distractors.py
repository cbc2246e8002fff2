"""Wrong results that look right: what a model that almost knows would say."""

import random
from collections.abc import Iterator

from brodmann.data.arithmetic.expressions import OPERATORS, Expression, evaluate


def distractors(
    expression: Expression, count: int, rng: random.Random, negative: bool = False
) -> list[int]:
    """Return distinct wrong results of ``expression``, of as many kinds as there are.

    The kinds are: off by one or two; another operator's result; the terms taken from left to
    right without precedence; two digits swapped; off by ten. Where they do not suffice, larger
    steps follow.

    Args:
        expression: the expression.
        count: how many to return.
        rng: decides which kinds come first.
        negative: whether a wrong result may be negative.
    """
    kinds = [
        _near(expression.value, (1, -1, 2, -2), rng),
        _other_operators(expression, rng),
        _left_to_right(expression),
        _digits_swapped(expression.value, rng),
        _near(expression.value, (10, -10), rng),
    ]
    rng.shuffle(kinds)
    kinds.append(iter(range(expression.value + 3, expression.value + 8 + count)))
    taken: list[int] = []
    while len(taken) < count:
        for kind in kinds:
            known = (expression.value, *taken)
            fresh = (n for n in kind if n not in known and (negative or n >= 0))
            wrong = next(fresh, None)
            if wrong is not None and len(taken) < count:
                taken.append(wrong)
    return taken


def _near(value: int, steps: tuple[int, ...], rng: random.Random) -> Iterator[int]:
    return iter([value + step for step in rng.sample(steps, len(steps))])


def _other_operators(expression: Expression, rng: random.Random) -> Iterator[int]:
    """Yield the results with one operator replaced by another, where they are whole."""
    places = range(len(expression.operators))
    swaps = [(place, name) for place in places for name in OPERATORS]
    for place, name in rng.sample(swaps, len(swaps)):
        operators = list(expression.operators)
        operators[place] = name
        value = evaluate(expression.operands, operators, negative=True)
        if value is not None:
            yield value


def _left_to_right(expression: Expression) -> Iterator[int]:
    value = expression.operands[0]
    for name, operand in zip(expression.operators, expression.operands[1:], strict=True):
        step = evaluate((value, operand), (name,), negative=True)
        if step is None:
            return
        value = step
    yield value


def _digits_swapped(value: int, rng: random.Random) -> Iterator[int]:
    sign, digits = (-1 if value < 0 else 1), str(abs(value))
    for place in rng.sample(range(len(digits) - 1), len(digits) - 1):
        swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
        if not swapped.startswith("0"):
            yield sign * int(swapped)
