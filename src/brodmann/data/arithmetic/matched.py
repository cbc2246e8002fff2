"""Matched draws: every operator gets the same answers, in the same order.

The control against sets of neurons that encode the answer's token and not the operation. The
algorithm, for one range of operands, one split and one seed:

1. The answers are 1, 2, ... up to the largest operand, 100,000 at most. (0 is left out: nearly
   every expression with the answer 0 is a product with 0 or a number minus itself.) Of more
   than 2,000 answers the seed draws 2,000.
2. c(answer) is the smallest number of distinct expressions that any of the four operators has
   for that answer in the split. Answers that an operator cannot reach have c = 0.
3. A list that holds each answer c(answer) times is shuffled by the seed. This one list serves
   all four operators, so they agree in their answers row by row, and its length is the largest
   count without repeats.
4. Each operator walks through the list and takes for each answer its next expression out of a
   seeded order of its own.

With repeats the list comes again, in a new order each time; for each answer an operator uses all
its expressions before it uses one again.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

from brodmann.data.arithmetic.expressions import OPERATORS, Bounds, Expression, shuffled_range
from brodmann.data.arithmetic.membership import belongs
from brodmann.data.split import Subset, keyed_random

_MOST_ANSWERS = 2000
_LARGEST_ANSWER = 10**5


class MatchedDraws:
    """Draws with one distribution of answers for all four operators.

    Args:
        bounds: the numbers allowed.
        subset: the split and part to draw from.
    """

    def __init__(self, bounds: Bounds, subset: Subset) -> None:
        self._seed_key = (subset.seed, "matched", bounds, subset)
        self._solutions = {
            value: {name: _Solutions(name, value, bounds, subset) for name in OPERATORS}
            for value in _candidates(bounds, subset.seed)
        }
        self._answers = [
            value for value, each in self._solutions.items() for _ in range(_shared_count(each))
        ]

    def draw(self, operator: str, count: int, repeat: bool = False) -> list[Expression]:
        """Return ``count`` expressions of one operator, or fewer where the list is shorter."""
        rng = keyed_random(*self._seed_key)
        used = dict.fromkeys(self._solutions, 0)
        drawn: list[Expression] = []
        while self._answers and len(drawn) < count and (repeat or not drawn):
            shuffled = rng.sample(self._answers, len(self._answers))
            for value in shuffled[: count - len(drawn)]:
                drawn.append(self._solutions[value][operator].cycled(used[value]))
                used[value] += 1
        return drawn


class _Solutions:
    """The expressions of one operator with one answer, in a seeded order, found as needed."""

    def __init__(self, operator: str, value: int, bounds: Bounds, subset: Subset) -> None:
        self._found: list[Expression] = []
        self._rest = _walk(operator, value, bounds, subset)

    def has(self, count: int) -> bool:
        """Tell whether there are at least ``count``."""
        self._found += itertools.islice(self._rest, max(0, count - len(self._found)))
        return len(self._found) >= count

    def cycled(self, turn: int) -> Expression:
        """Return expression number ``turn``, counting round."""
        return self._found[turn if self.has(turn + 1) else turn % len(self._found)]


def _walk(operator: str, value: int, bounds: Bounds, subset: Subset) -> Iterator[Expression]:
    free = _free_operands(operator, value, bounds)
    rng = keyed_random(subset.seed, "solutions", operator, value, bounds)
    for index in shuffled_range(len(free), rng):
        expression = _solution(operator, value, free[index])
        if belongs(expression, subset):
            yield expression


def _shared_count(by_name: dict[str, _Solutions]) -> int:
    """Return how many expressions each operator has at least, and look no further than that."""
    # Multiplication first: it nearly always has the fewest.
    names = sorted(by_name, key=lambda name: name != "mul")
    count = 0
    while all(by_name[name].has(count + 1) for name in names):
        count += 1
    return count


def _candidates(bounds: Bounds, seed: int) -> Sequence[int]:
    values = range(1, min(bounds.largest, _LARGEST_ANSWER) + 1)
    if len(values) <= _MOST_ANSWERS:
        return values
    return sorted(keyed_random(seed, "answers", bounds).sample(values, _MOST_ANSWERS))


def _free_operands(operator: str, value: int, bounds: Bounds) -> Sequence[int]:
    """Return the operands that determine an expression with this value (see `_solution`)."""
    low, high = bounds.smallest, bounds.largest
    if operator == "add":
        return range(max(low, value - high), min(high, value - low) + 1)
    if operator == "sub":
        return range(low, high - value + 1)
    if operator == "div":
        return range(max(low, 1), high + 1) if low <= value <= high else range(0)
    small = [n for n in range(max(low, 1), math.isqrt(value) + 1) if value % n == 0]
    pairs = [n for n in small if value // n <= high]
    return sorted({*pairs, *(value // n for n in pairs)})


def _solution(operator: str, value: int, free: int) -> Expression:
    """Return the expression: ``free`` is a summand, a subtrahend, a factor or a divisor."""
    if operator == "add":
        operands = (free, value - free)
    elif operator == "sub":
        operands = (value + free, free)
    elif operator == "mul":
        operands = (free, value // free)
    else:
        operands = (value * free, free)
    return Expression(operands, (operator,), value)
