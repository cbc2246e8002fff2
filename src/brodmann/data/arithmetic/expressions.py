"""Expressions: their operators, their values, and the finite spaces they are drawn from."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
"""The operators by name, in their canonical order."""

OPERATORS = tuple(SYMBOLS)
MAX_OPERATORS = 5


@dataclass(frozen=True, slots=True)
class Expression:
    """An arithmetic expression without parentheses, and its value.

    Attributes:
        operands: the numbers, in the order they are written.
        operators: the names of the operators between them.
        value: what it comes to, with the usual precedence.
    """

    operands: tuple[int, ...]
    operators: tuple[str, ...]
    value: int

    def __str__(self) -> str:
        rest = zip(self.operators, self.operands[1:], strict=True)
        return f"{self.operands[0]}" + "".join(f"{SYMBOLS[name]}{n}" for name, n in rest)

    def mirrors(self, other: "Expression") -> bool:
        """Tell whether ``other`` is this sum or product with its two numbers swapped, or equal."""
        if self.operators != other.operators:
            return False
        may_swap = self.operators in (("add",), ("mul",))
        return other.operands in (self.operands, self.operands[::-1] if may_swap else ())


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers that may stand in an expression.

    Attributes:
        smallest: the smallest operand.
        largest: the largest operand. The first number of a term with divisions may be larger:
            divisor and quotient are drawn.
        negative: whether a sum on the way and the result may be negative.
    """

    smallest: int = 1
    largest: int = 999
    negative: bool = False

    @property
    def width(self) -> int:
        """How many operands there are."""
        return self.largest - self.smallest + 1


def evaluate(
    operands: Sequence[int], operators: Sequence[str], negative: bool = False
) -> int | None:
    """Return the value of an expression with the usual precedence, or None.

    None means that a division is not exact or is by zero, or (unless ``negative``) that the sum
    falls below zero at some point from left to right.
    """
    total, sign, term = 0, 1, operands[0]
    for name, operand in zip(operators, operands[1:], strict=True):
        if name == "mul":
            term *= operand
        elif name == "div":
            if operand == 0 or term % operand:
                return None
            term //= operand
        else:
            total += sign * term
            if total < 0 and not negative:
                return None
            sign, term = (1 if name == "add" else -1), operand
    total += sign * term
    return total if total >= 0 or negative else None


@dataclass(frozen=True)
class Space:
    """All expressions with given operators within bounds, as a numbered list of proposals.

    A proposal is an order of the operators and a number for each operand. In a term with
    divisions the first number is multiplied by all divisors of the term, so that every division
    is exact: in 12/4 the divisor 4 and the quotient 3 were drawn. Different proposals are
    different expressions; a proposal with a negative sum or a divisor of 0 is None. So drawing
    without replacement needs no list of the space.

    Attributes:
        operators: the operators in canonical order; an operator may occur twice.
        bounds: the numbers allowed.
    """

    operators: tuple[str, ...]
    bounds: Bounds

    @cached_property
    def orders(self) -> tuple[tuple[str, ...], ...]:
        """The distinct orders of the operators."""
        return tuple(dict.fromkeys(itertools.permutations(self.operators)))

    @property
    def size(self) -> int:
        """The number of proposals, valid or not."""
        return len(self.orders) * self.bounds.width ** (len(self.operators) + 1)

    def at(self, index: int) -> Expression | None:
        """Return the proposal with this number, or None where it is not a valid expression."""
        index, which = divmod(index, len(self.orders))
        operators, operands = self.orders[which], []
        for _ in range(len(self.operators) + 1):
            index, digit = divmod(index, self.bounds.width)
            operands.append(self.bounds.smallest + digit)
        start = 0
        for i, name in enumerate(operators, start=1):
            if name in ("add", "sub"):
                start = i
            elif name == "div":
                if operands[i] == 0:
                    return None
                operands[start] *= operands[i]
        value = evaluate(operands, operators, self.bounds.negative)
        return None if value is None else Expression(tuple(operands), operators, value)

    def shuffled(self, rng: random.Random) -> Iterator[Expression]:
        """Yield every valid expression once, in random order, drawing only as many as asked."""
        for index in shuffled_range(self.size, rng):
            expression = self.at(index)
            if expression is not None:
                yield expression


def shuffled_range(size: int, rng: random.Random) -> Iterator[int]:
    """Yield 0 .. size-1 in random order (Fisher-Yates; memory only for what was drawn)."""
    moved: dict[int, int] = {}
    for left in range(size, 0, -1):
        pick = rng.randrange(left)
        yield moved.get(pick, pick)
        last = moved.pop(left - 1, left - 1)
        if pick != left - 1:
            moved[pick] = last
