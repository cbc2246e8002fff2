"""Which tests may be scored: those that run a model's programs only where the user allows it."""

from collections.abc import Mapping

from brodmann.experiments.cells import Row
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench

RUNS_PROGRAMS = "code"
"""The scorer that runs what the model wrote."""

LEFT_OUT = "left out: it is scored by running programs; write --allow-code-execution"
"""The note on a test that needs a permission which was not given."""


def measurable(
    bench: Workbench, tests: Mapping[str, Sample]
) -> tuple[dict[str, Sample], list[Row]]:
    """Leave out the tests that would run programs without permission.

    Returns:
        The tests that are left, and a note (``column``, ``note``) on each that is not.
    """
    if bench.allow_code_execution:
        return dict(tests), []
    runs = {
        name: any(one.meta.get("scorer") == RUNS_PROGRAMS for one in bench.examples(test))
        for name, test in tests.items()
    }
    return (
        {name: test for name, test in tests.items() if not runs[name]},
        [{"column": name, "note": LEFT_OUT} for name in tests if runs[name]],
    )
