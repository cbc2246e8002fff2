"""From runs of several seeds to one row per method and data: means, spread, paired intervals."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from brodmann.evaluate import Evaluation, paired_difference

Answers = Mapping[str, Evaluation]
"""Data spec -> how one model answers it."""

OTHERS = "all others"


def summary_rows(
    fit: str, base: Answers, runs: Mapping[str, Sequence[Answers]], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Pool the seeds of each method (dcsn.txt Table 6, with intervals).

    Args:
        fit: the spec that was tuned on.
        base: the base model's answers.
        runs: method -> the tuned models' answers to the same examples, one for each seed.
        seed: of the bootstraps.

    Returns:
        A row for each method and spec, and one for all specs but ``fit`` together: ``base``,
        ``tuned`` (mean over seeds), ``tuned_lowest`` and ``tuned_highest`` of a seed, ``change``
        and ``margin_change`` (nats) with the ends of their 95% intervals. These are over examples
        (expressions), whose answers by all seeds go together; what another seed would give shows
        in the spread.
    """
    others = tuple(spec for spec in base if spec != fit)
    named = [*((spec, (spec,)) for spec in base), *([(OTHERS, others)] if others else [])]
    return [
        {"method": method, "data": name} | _pooled(base, answers, specs, seed)
        for method, answers in runs.items()
        for name, specs in named
    ]


def _pooled(
    base: Answers, runs: Sequence[Answers], specs: Sequence[str], seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"n": sum(base[spec].n for spec in specs), "seeds": len(runs)}
    groups = [
        (spec, str(example.get("expression", example["prompt"])))
        for _ in runs
        for spec in specs
        for example in base[spec].rows
    ]
    for name, measure in (("change", "correct"), ("margin_change", "margin")):
        was = [value for spec in specs for value in base[spec].column(measure)]
        now = [[value for spec in specs for value in run[spec].column(measure)] for run in runs]
        change = paired_difference(was * len(runs), [*chain(*now)], groups=groups, seed=seed)
        row |= {name: change.mean}
        row |= {f"{name}_low": change.interval[0], f"{name}_high": change.interval[1]}
        if measure == "correct":
            means = [sum(values) / len(values) for values in now]
            row |= {"base": sum(was) / len(was), "tuned": sum(means) / len(means)}
            row |= {"tuned_lowest": min(means), "tuned_highest": max(means)}
    return row
