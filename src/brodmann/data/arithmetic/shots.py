"""Solved examples in front of a question."""

from collections.abc import Sequence

from brodmann.data.arithmetic.draws import free_draws
from brodmann.data.arithmetic.expressions import Bounds, Expression
from brodmann.data.arithmetic.options import of_length
from brodmann.data.arithmetic.tasks import Style
from brodmann.data.split import Subset, keyed_random
from brodmann.errors import DataError

_POOL = 1000
"""Solved examples are taken from so many expressions of each set of operators."""


class SolvedExamples:
    """Contexts of solved examples, with mixed operators, from the train part only.

    Context number k depends on the seed, the split and k, and not on the tested operator: row k
    of every operator's set has the same context (one example is replaced where it is the tested
    expression), so that sets of different operators differ in the question alone. Operators
    take equal turns, within a context and over contexts, as do the right options of
    multiple-choice and true-or-false examples.

    Args:
        n_operators: the number of operators in each expression.
        shots: the number of solved examples.
        bounds: the numbers allowed.
        subset: which rows ask for contexts; the examples come from the train split of its part.
        style: how an expression is asked.
    """

    def __init__(
        self, n_operators: int, shots: int, bounds: Bounds, subset: Subset, style: Style
    ) -> None:
        self.shots = shots
        self._style = style
        self._subset = subset
        self._combinations = of_length(n_operators)
        self._pools: list[Sequence[Expression]] = [
            free_draws(names, bounds, subset.of("train"), _POOL, repeat=False)
            for names in (self._combinations if shots else ())
        ]

    def context(
        self, turn: int, tested: Expression, attempt: int = 0
    ) -> tuple[str, tuple[Expression, ...]]:
        """Return the text in front of question number ``turn``, and its expressions.

        Args:
            turn: the number of the question.
            tested: its expression; neither it nor its mirror image (4+3 for 3+4) is in the text.
            attempt: another number gives another context.

        Raises:
            DataError: when the train part has too few expressions.
        """
        if not self.shots:
            return "", ()
        key = f"{self._subset}/{turn}/{attempt}"
        rng = keyed_random(self._subset.seed, "shots", self.shots, key)
        spare = self.shots + 2  # the tested expression and its mirror image may be among them
        taken: dict[str, Expression] = {}
        for which in self._kinds(turn):
            pool = self._pools[which]
            order = (pool[i] for i in rng.sample(range(len(pool)), min(len(pool), spare)))
            fresh = (e for e in order if not e.mirrors(tested) and str(e) not in taken)
            expression = next(fresh, None)
            if expression is None:
                raise self._too_few(which)
            taken[str(expression)] = expression
        chosen = list(taken.values())
        rng.shuffle(chosen)
        first, series = turn * self.shots, f"shots/{self._subset}/{attempt}"
        items = [self._style.item(e, first + i, series) for i, e in enumerate(chosen)]
        return "".join(f"{item.solved}\n" for item in items), tuple(chosen)

    def _kinds(self, turn: int) -> list[int]:
        """Return which sets of operators the context takes: rotating, so all equally often."""
        n = len(self._combinations)
        return [(turn * self.shots + i) % n for i in range(self.shots)]

    def _too_few(self, which: int) -> DataError:
        names = "-".join(self._combinations[which])
        return DataError(
            f"Expected enough {names} expressions for shots={self.shots}; the train part "
            f"({self._subset.of('train')}) holds {len(self._pools[which])}. "
            "Lower shots= or raise max=."
        )
