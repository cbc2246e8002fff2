"""`Evaluation`: what a model scored on a set of examples, per example and together."""

import math
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from brodmann.errors import InputError, RunError
from brodmann.evaluate.html import evaluation_html
from brodmann.evaluate.statistics import (
    Difference,
    Interval,
    bootstrap_interval,
    paired_difference,
    wilson_interval,
)
from brodmann.storage import new_folder, read_json, read_rows, write_json, write_rows

ROWS_FILE, SUMMARY_FILE = "rows.parquet", "evaluation.json"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A model's answers to a set of examples.

    Made by :func:`brodmann.evaluate`; :meth:`from_rows` makes one from rows.

    Attributes:
        rows: one dict for each example, in the order given: ``prompt``, ``answer``, ``scorer``,
            ``output`` (the generated text), ``parsed`` (the answer read from it), ``format_ok``,
            ``predicted``, ``correct``, ``margin``, ``logprob``, ``n_tokens`` (of the answer) and
            what the example says of itself; closed questions also ``choices``,
            ``choice_logprobs``, ``predicted_normalised`` and ``correct_normalised`` (by
            log-probability per character), ``generated_correct`` (by the generated text).
        scorer: the scorer's name; several are joined by "+".
        n: examples.
        n_independent: examples that count as independent: different expressions.
        accuracy: the share of right answers.
        interval: its 95% Wilson interval, over the independent examples.
        chance: the accuracy of guessing among the choices (0 for free answers).
        majority: the accuracy of always giving the most frequent gold answer.
        margin: mean log-probability margin, nats. Free answers: log P(token) - log P(best other
            token), averaged over the answer's tokens. Closed questions: log P(right option) -
            log P(best wrong option).
        margin_interval: its 95% bootstrap interval over the independent examples.
        format_rate: the share of outputs that parse.
        macro_f1: unweighted mean F1 over labels, where all examples share one list of choices
            that are more than letters; else None.
        letter_accuracy: accuracy of the generated letter, where all options are letters; else
            None.
        provenance: model, fingerprint and settings, in JSON types.
    """

    rows: Sequence[Mapping[str, Any]]
    scorer: str
    n: int
    n_independent: int
    accuracy: float
    interval: Interval
    chance: float
    majority: float
    margin: float
    margin_interval: Interval
    format_rate: float
    macro_f1: float | None = None
    letter_accuracy: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any] | None = None
    ) -> "Evaluation":
        """Sum up rows of single examples.

        Raises:
            InputError: when there are none.
        """
        if not rows:
            raise InputError("Expected at least one example to evaluate; got none.")
        groups = [_unit(index, row) for index, row in enumerate(rows)]
        accuracy, independent = _mean(rows, "correct"), len(set(groups))
        margins = [float(row["margin"]) for row in rows]
        golds = Counter(row["answer"] for row in rows)
        lettered = all(_has_letters(row) for row in rows)
        return cls(
            rows=[dict(row) for row in rows],
            scorer="+".join(sorted({row["scorer"] for row in rows})),
            n=len(rows),
            n_independent=independent,
            accuracy=accuracy,
            interval=wilson_interval(accuracy * independent, independent),
            chance=_mean(rows, "chance"),
            majority=golds.most_common(1)[0][1] / len(rows),
            margin=_mean(rows, "margin"),
            margin_interval=bootstrap_interval(margins, groups=groups),
            format_rate=_mean(rows, "format_ok"),
            macro_f1=_macro_f1(rows),
            letter_accuracy=_mean(rows, "generated_correct") if lettered else None,
            provenance=dict(provenance or {}),
        )

    def change_from(
        self, before: "Evaluation", measure: str = "correct", *, seed: int = 0
    ) -> Difference:
        """Compare with an earlier evaluation of the same examples, example by example.

        Args:
            before: the earlier one.
            measure: a column of numbers: ``"correct"`` or ``"margin"``.
            seed: of the bootstrap, whose units are different expressions.

        Raises:
            InputError: when the examples are not the same.
            RunError: when a measurement is not finite.
        """
        if [row["prompt"] for row in before.rows] != [row["prompt"] for row in self.rows]:
            raise InputError("Expected two evaluations of the same examples in the same order.")
        groups = [_unit(index, row) for index, row in enumerate(before.rows)]
        return paired_difference(
            before.column(measure), self.column(measure), groups=groups, seed=seed
        )

    def column(self, measure: str) -> list[float]:
        """Return one number for each example.

        Raises:
            RunError: when one is not finite.
        """
        values = [float(row[measure]) for row in self.rows]
        if not all(math.isfinite(value) for value in values):
            raise RunError(
                f"Expected finite measurements; some of '{measure}' are not: the model overflows "
                "in its type. Write --dtype float32."
            )
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows, in JSON types."""
        names = [entry.name for entry in fields(self) if entry.name != "rows"]
        summary = asdict(self)
        return {name: summary[name] for name in names}

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Save as a new folder of ``rows.parquet`` and ``evaluation.json``.

        Raises:
            InputError: when the folder exists and ``overwrite`` is off.
        """
        with new_folder(folder, overwrite) as new:
            self.write_into(new)

    def write_into(self, folder: str | os.PathLike[str]) -> None:
        """Write the two files into a folder that exists and may hold others."""
        write_rows(Path(folder) / ROWS_FILE, self.rows)
        write_json(Path(folder) / SUMMARY_FILE, self.to_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Evaluation":
        """Load what :meth:`save` wrote.

        Raises:
            InputError: when the folder is missing, corrupt, or holds something else.
        """
        summary = read_json(Path(folder) / SUMMARY_FILE)
        rows = read_rows(Path(folder) / ROWS_FILE)
        wanted = {entry.name for entry in fields(cls) if entry.name != "rows"}
        if not isinstance(summary, dict) or set(summary) != wanted:
            raise InputError(
                f"Expected an evaluation in {folder}; it holds something else. Evaluate again."
            )
        ends: dict[str, Any] = {
            name: _ends(summary[name]) for name in ("interval", "margin_interval")
        }
        return cls(rows=rows, **(summary | ends))

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"Evaluation(accuracy {self.accuracy:.3f} [{low:.3f}, {high:.3f}], "
            f"margin {self.margin:+.2f}, n={self.n}, {self.scorer})"
        )

    def __str__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self.table())

    def table(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs as a person reads them."""
        lines = [
            ("accuracy", f"{self.accuracy:.3f}  [{_written(self.interval)}] (95%)"),
            ("chance", f"{self.chance:.3f}  (majority answer {self.majority:.3f})"),
            ("margin", f"{self.margin:+.3f}  [{_written(self.margin_interval)}] nats"),
            ("format", f"{self.format_rate:.3f} of the outputs parse"),
            ("macro-F1", "" if self.macro_f1 is None else f"{self.macro_f1:.3f}"),
            ("letters", "" if self.letter_accuracy is None else f"{self.letter_accuracy:.3f}"),
            ("examples", f"{self.n}" + self._repeats()),
            ("scorer", self.scorer),
        ]
        return [line for line in lines if line[1]]

    def _repeats(self) -> str:
        return "" if self.n_independent == self.n else f", {self.n_independent} independent"

    def _repr_html_(self) -> str:
        return evaluation_html(self.table(), self.accuracy, self.interval, self.chance)


def _ends(interval: Sequence[float | None]) -> Interval:
    """Return the ends of an interval as it stands in JSON, which has no NaN."""
    low, high = (math.nan if end is None else float(end) for end in interval)
    return low, high


def _unit(index: int, row: Mapping[str, Any]) -> Hashable:
    """Return what makes a row independent of others: its expression, or the row itself."""
    expression = row.get("expression")
    return index if expression is None else (str(expression),)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)


def _has_letters(row: Mapping[str, Any]) -> bool:
    """Tell whether the options are A, B, C, ... (a Chinese yes or no is a word)."""
    choices = [option.strip(" ().") for option in row.get("choices") or ()]
    return bool(choices) and all(len(c) == 1 and c.isascii() and c.isalpha() for c in choices)


def _macro_f1(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean F1 over the labels that occur as an answer or a prediction."""
    lists = {frozenset(row.get("choices") or ()) for row in rows}
    if len(lists) != 1 or not next(iter(lists)) or _has_letters(rows[0]):
        return None
    pairs = [(row["answer"], row["predicted"]) for row in rows]
    labels = sorted({label for pair in pairs for label in pair})
    scores = []
    for label in labels:
        hits = pairs.count((label, label))
        gold = sum(answer == label for answer, _ in pairs)
        given = sum(predicted == label for _, predicted in pairs)
        scores.append(2 * hits / (gold + given))
    return sum(scores) / len(scores)


def _written(interval: Interval) -> str:
    return f"{interval[0]:.3f}, {interval[1]:.3f}"
