"""Which split, and which part of it, an expression belongs to; the same for every range.

The place of an expression depends on its text and the seed alone, never on ``max``: what is a
test expression among the numbers up to 9 is one among those up to 99 too.

Small ranges are small, and a hash alone would give them uneven splits (9 test sums out of 81, say).
So expressions with one operator and numbers up to 32 are ranked, by their largest number and then
by the hash, and every fifth is a test expression, every second of a side belongs to its first
half, and so on: exact shares for every ``max``. All other expressions go by the hash.
"""

from functools import lru_cache

from brodmann.data.arithmetic.expressions import Bounds, Expression, Space
from brodmann.data.split import TEST_EVERY, Subset, keyed_hash

RANKED = 32
"""Single-operator expressions with numbers up to this one are split by rank."""


def belongs(expression: Expression, subset: Subset) -> bool:
    """Tell whether ``expression`` is in ``subset``."""
    text, rank = str(expression), None
    if len(expression.operators) == 1:
        rank = _ranks(expression.operators[0], subset.seed).get(text)
    if rank is None:
        return subset.holds(text)
    tests_before, since_test = divmod(rank, TEST_EVERY)
    is_test = since_test == 0
    if subset.split != "all" and is_test != (subset.split == "test"):
        return False
    number_on_its_side = tests_before if is_test else rank - tests_before - 1
    return number_on_its_side % subset.parts == subset.part - 1


@lru_cache(maxsize=64)
def _ranks(operator: str, seed: int) -> dict[str, int]:
    """Return the rank of each ranked expression of one operator."""
    space = Space((operator,), Bounds(1, RANKED))
    expressions = [e for index in range(space.size) if (e := space.at(index))]
    largest = {str(e): _largest_number(e) for e in expressions}
    start = keyed_hash(seed, "start", operator) % TEST_EVERY
    order = sorted(largest, key=lambda text: (largest[text], keyed_hash(seed, "split", text)))
    return {text: start + index for index, text in enumerate(order)}


def _largest_number(expression: Expression) -> int:
    """Return the largest number that was drawn: a dividend is made, not drawn."""
    if expression.operators == ("div",):
        return max(expression.operands[1], expression.value)
    return max(expression.operands)
