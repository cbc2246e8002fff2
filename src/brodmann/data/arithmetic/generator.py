"""From an arithmetic spec to examples (dcsn.txt, section 3.1 and Appendix A).

Without a limit a set has the paper's size, or every expression where there are fewer: 1,000 for
each operator of 1-OP sets, 1,000 in all for 2- to 5-OP; 80% are the train split, 20% the test
split. ``split=all`` is always these two, one test row after four train rows. Sets of several
operators take turns, so that each occurs equally often.

The same seed gives the same expressions in every task, language and template, and row k of every
operator has the same solved examples in front. A larger limit goes on where a smaller one ends.
"""

import itertools
import re
from collections.abc import Sequence

from brodmann.data.arithmetic import options as arithmetic_options
from brodmann.data.arithmetic.draws import free_draws
from brodmann.data.arithmetic.expressions import OPERATORS, Expression
from brodmann.data.arithmetic.matched import MatchedDraws
from brodmann.data.arithmetic.options import Options
from brodmann.data.arithmetic.shots import SolvedExamples
from brodmann.data.arithmetic.tasks import Style, balanced
from brodmann.data.example import Example
from brodmann.data.registry import DATASETS, NamedSet
from brodmann.data.spec import DataSpec
from brodmann.data.split import TEST_EVERY, Subset
from brodmann.errors import DataError

PAPER_COUNT = 1000
"""Examples per operator (1-OP), or per set (2- to 5-OP), without a limit."""

_ATTEMPTS = 100

Row = tuple[int, Expression]
"""The number of an expression among those with its operators, and the expression."""


def load_arithmetic(spec: DataSpec, subset: Subset, limit: int | None) -> list[Example]:
    """Generate the examples of an arithmetic spec.

    Args:
        spec: the spec, with known option names.
        subset: the split and part; its seed decides everything.
        limit: the number of examples, over all operators together. None: the paper's number.

    Raises:
        UnknownNameError: for a value that is not one of an option's list.
        DataError: for options that cannot be used, or more examples than there are; the
            message names the largest count.
    """
    options = arithmetic_options.parse(spec)
    if subset.split != "all":
        rows = _rows(options, subset, _wanted(options, subset, limit))
        _check_count(len(rows), limit, options, subset)
        return _arranged(_examples(options, subset, rows), options)
    return _arranged(_both_splits(options, subset, limit), options)


def _both_splits(options: Options, subset: Subset, limit: int | None) -> list[Example]:
    """Return the first ``limit`` rows of train and test together, one test row in five."""
    of_train, of_test = subset.of("train"), subset.of("test")
    train = _rows(options, of_train, _wanted(options, of_train, limit))
    if limit is None:
        test = _rows(options, of_test, _wanted(options, of_test, None))
    else:
        test = _rows(options, of_test, max(limit // TEST_EVERY, limit - len(train)))
        train = train[: limit - len(test)]
    _check_count(len(train) + len(test), limit, options, subset)
    return _interleaved(_examples(options, of_train, train), _examples(options, of_test, test))


def _wanted(options: Options, subset: Subset, limit: int | None) -> int:
    """Return how many rows a split should have."""
    if limit is not None:
        return limit
    is_single = len(options.combinations[0]) == 1
    paper = PAPER_COUNT * (len(options.combinations) if is_single else 1)
    return paper // TEST_EVERY if subset.split == "test" else paper - paper // TEST_EVERY


def _rows(options: Options, subset: Subset, count: int) -> list[Row]:
    """Draw up to ``count`` rows; fewer where a set of operators runs out."""
    n_sets = len(options.combinations)
    each = -(-count // n_sets)
    matched = MatchedDraws(options.bounds, subset) if options.matched else None
    drawn = [
        matched.draw(names[0], each, options.repeat)
        if matched
        else free_draws(names, options.bounds, subset, each, options.repeat)
        for names in options.combinations
    ]
    shortest = min(len(expressions) for expressions in drawn)
    rows: list[Row] = []
    for turn in range(min(count, shortest * n_sets)):
        which = balanced(turn, n_sets, f"{subset.seed}/operators/{subset}")
        rows.append((turn // n_sets, drawn[which][turn // n_sets]))
    return rows


def _examples(options: Options, subset: Subset, rows: Sequence[Row]) -> list[Example]:
    style = Style(
        options.task, options.lang, options.template, options.bounds.negative, subset.seed
    )
    n_operators = len(options.combinations[0])
    solved = SolvedExamples(n_operators, options.shots, options.bounds, subset, style)
    seen: set[tuple[str, str]] = set()
    return [_example(style, solved, subset, row, seen) for row in rows]


def _example(
    style: Style, solved: SolvedExamples, subset: Subset, row: Row, seen: set[tuple[str, str]]
) -> Example:
    """Build one example whose expression has not stood behind the same context in ``seen``."""
    turn, expression = row
    for attempt in range(_ATTEMPTS):
        context, shown = solved.context(turn, expression, attempt)
        if (str(expression), context) not in seen:
            break
    else:
        raise DataError(
            f"Expected fewer repeats: {expression} has no other context of "
            f"shots={solved.shots} solved examples. Raise shots= or max=, or lower the limit."
        )
    seen.add((str(expression), context))
    names = "-".join(arithmetic_options.in_order(expression.operators))
    item = style.item(expression, turn, f"{names}/{subset}")
    meta = {
        "scorer": "choice" if style.choices else "integer",
        "capability": names,
        "expression": str(expression),
        "operators": expression.operators,
        "task": style.task,
        "lang": style.lang,
        "value": expression.value,
        "context": tuple(str(example) for example in shown),
    }
    return Example(context + item.prompt, item.answer, item.delimiter, style.choices, meta)


def _interleaved(train: list[Example], test: list[Example]) -> list[Example]:
    """Return four of ``train``, one of ``test`` and so on; the rest of the longer at the end."""
    rows: list[Example] = []
    left, right = iter(train), iter(test)
    while len(rows) < len(train) + len(test):
        rows += itertools.islice(left, TEST_EVERY - 1)
        rows += itertools.islice(right, 1)
    return rows


def _arranged(examples: list[Example], options: Options) -> list[Example]:
    if not options.is_sorted:
        return examples
    return sorted(examples, key=_sort_key)


def _sort_key(example: Example) -> tuple[list[int], list[int]]:
    operators = [OPERATORS.index(name) for name in example.meta["operators"]]
    text = example.meta["expression"]
    return operators, [int(word) for word in re.split(r"\D+", text)]


def _check_count(count: int, limit: int | None, options: Options, subset: Subset) -> None:
    if count and (limit is None or count == limit):
        return
    where = f"'{options.name}' ({subset})"
    if not count:
        raise DataError(f"Expected expressions in {where}; there are none. Raise max=.")
    each = " (operators equally often)" if len(options.combinations) > 1 else ""
    raise DataError(
        f"Expected a limit of at most {count}, the number of examples of {where}{each}; "
        f"got {limit}. Raise max=, or add repeat=true with shots=1 or more."
    )


DATASETS.add(
    "arithmetic",
    NamedSet(
        summary="Expressions of 1 to 5 operators (arithmetic/add, arithmetic/add-mul, ...)",
        options=arithmetic_options.OPTIONS,
        load=load_arithmetic,
        canonical_part=arithmetic_options.canonical_part,
    ),
)
