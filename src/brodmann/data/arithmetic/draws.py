"""Free draws: expressions without replacement, and repeats of them where that is asked for."""

import itertools

from brodmann.data.arithmetic.expressions import Bounds, Expression, Space
from brodmann.data.arithmetic.membership import belongs
from brodmann.data.split import Subset, keyed_random


def free_draws(
    operators: tuple[str, ...], bounds: Bounds, subset: Subset, count: int, repeat: bool = False
) -> list[Expression]:
    """Draw expressions without replacement: the first ``count`` of one seeded order.

    Every valid expression of the subset is equally likely. Returns fewer where the subset holds
    fewer; with ``repeat`` all of them come again then, in a new order each time, until there
    are ``count``.
    """
    rng = keyed_random(subset.seed, "draws", *operators, bounds)
    stream = (e for e in Space(operators, bounds).shuffled(rng) if belongs(e, subset))
    drawn = list(itertools.islice(stream, count))
    once = tuple(drawn)
    while repeat and once and len(drawn) < count:
        drawn += rng.sample(once, min(len(once), count - len(drawn)))
    return drawn
