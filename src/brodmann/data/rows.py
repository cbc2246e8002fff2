"""Rows of a user's data (a JSONL file, a hub set) to examples."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.data.example import Example
from brodmann.data.prompt_template import PromptTemplate, as_text, to_text
from brodmann.data.spec import DataSpec
from brodmann.errors import DataError, UnknownNameError

OPTIONS = {
    "prompt": "the column with the prompt (default prompt)",
    "answer": "the column with the answer (default answer)",
    "template": "makes the prompt from columns: 'Q: {question}\\nA:', or a jinja2 template",
    "choices": "labels joined by | or ',', or the column that lists them (default choices)",
    "scorer": "integer|number|choice|text (default: choice, else number, else text)",
    "delimiter": "the text between prompt and answer (default: one space)",
}
"""Options that say how rows become examples, each with one line of help."""

SCORERS = ("integer", "number", "choice", "text")

_NUMBER = re.compile(r"[-+]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?")


@dataclass(frozen=True)
class Row:
    """A row as it was read.

    Attributes:
        values: its columns.
        where: what it is called in errors, such as ``"line 3 of rows.jsonl"``.
    """

    values: Mapping[str, Any]
    where: str


class RowReader:
    """Turns rows into examples as the options of a spec say.

    White space in front of an answer goes into the delimiter (an example's answer has none), so
    that the model reads exactly the given text: it takes the place of the default delimiter, and
    is added to one that is given. Columns that are not used are kept in ``meta``; a column
    ``meta`` with an object in it is merged, and wins. Lists in ``meta`` become tuples.

    Args:
        spec: the spec with its options.

    Raises:
        DataError: for options that do not go together, or a template that is not well formed.
        UnknownNameError: for a scorer that does not exist.
    """

    def __init__(self, spec: DataSpec) -> None:
        options = spec.options
        if "template" in options and "prompt" in options:
            raise DataError(f"Expected one of prompt= and template=, not both; got '{spec}'.")
        self._template = PromptTemplate(options["template"]) if "template" in options else None
        self._prompt = options.get("prompt", "prompt")
        self._answer = options.get("answer", "answer")
        self._choices = options.get("choices")
        self._delimiter = options.get("delimiter")
        self._scorer = options.get("scorer")
        if self._scorer is not None and self._scorer not in SCORERS:
            raise UnknownNameError("scorer", self._scorer, SCORERS)

    def read(self, rows: Sequence[Row]) -> list[Example]:
        """Return the examples of ``rows``, in their order.

        Raises:
            DataError: at the first row that cannot be used; the message says which.
        """
        parts = [self._parts(row) for row in rows]
        scorer = self._scorer or _default_scorer(parts)
        return [self._example(row, part, scorer) for row, part in zip(rows, parts, strict=True)]

    def _parts(self, row: Row) -> tuple[str, str, str, tuple[str, ...]]:
        """Return prompt, delimiter, answer and choices of a row."""
        if self._template:
            prompt = self._template.render(row.values, row.where)
        else:
            prompt = as_text(row.values, self._prompt, row.where, "prompt= (or write template=)")
        if not prompt:
            raise DataError(f"Expected a prompt in {row.where}; got empty text.")
        choices = self._row_choices(row)
        answer = as_text(row.values, self._answer, row.where, "answer=")
        stripped = answer.lstrip()
        if not stripped:
            raise DataError(f"Expected an answer in {row.where}; got empty text.")
        delimiter = self._row_delimiter(row, answer[: -len(stripped)])
        if choices:
            stripped = _label(row.values[self._answer], stripped, choices, row.where)
        return prompt, delimiter, stripped, choices

    def _row_delimiter(self, row: Row, space: str) -> str:
        if self._delimiter is not None:
            return self._delimiter + space
        if "delimiter" in row.values:
            return to_text(row.values["delimiter"], f"'delimiter' in {row.where}") + space
        return space or " "

    def _row_choices(self, row: Row) -> tuple[str, ...]:
        given = self._choices
        if given is None and "choices" not in row.values:
            return ()
        column = "choices" if given is None else given
        labels = row.values.get(column, given)
        if isinstance(labels, str):
            labels = [part.strip() for part in labels.split("|" if "|" in labels else ",")]
        if not isinstance(labels, list | tuple):
            raise DataError(f"Expected a list of labels as '{column}' in {row.where}.")
        what = f"a label of '{column}' in {row.where}"
        choices = tuple(to_text(label, what).lstrip() for label in labels)
        if not choices and given is None:
            return ()
        if len(set(choices)) != len(choices) or len(choices) < 2 or "" in choices:
            raise DataError(
                f"Expected two or more different labels, or the column that lists them, as "
                f"choices of {row.where}; got '{'|'.join(choices)}'."
            )
        return choices

    def _example(
        self, row: Row, parts: tuple[str, str, str, tuple[str, ...]], scorer: str
    ) -> Example:
        prompt, delimiter, answer, choices = parts
        used = {self._answer, "choices" if self._choices is None else self._choices}
        used |= {"delimiter", "meta", "scorer"} | (set() if self._template else {self._prompt})
        own = row.values.get("meta") or {}
        if not isinstance(own, Mapping):
            raise DataError(f"Expected an object as 'meta' in {row.where}.")
        others = {key: value for key, value in row.values.items() if key not in used}
        meta = {"scorer": scorer, **frozen(others), **frozen(own)}
        if self._scorer:
            meta["scorer"] = self._scorer
        if meta["scorer"] == "choice" and not choices:
            raise DataError(f"Expected choices with scorer=choice; {row.where} has none.")
        return Example(prompt, answer, delimiter, choices, meta)


def frozen(value: Any) -> Any:
    """Return ``value`` with lists made tuples, at every depth."""
    if isinstance(value, Mapping):
        return {key: frozen(entry) for key, entry in value.items()}
    return tuple(frozen(entry) for entry in value) if isinstance(value, list | tuple) else value


def _label(raw: Any, answer: str, choices: tuple[str, ...], where: str) -> str:
    """Return the answer as one of the choices; a whole number may be its place, from 0."""
    if answer in choices:
        return answer
    if type(raw) is int and 0 <= raw < len(choices):
        return choices[raw]
    raise DataError(
        f"Expected one of the choices {', '.join(choices)} as the answer in {where}; "
        f"got '{answer}'."
    )


def _default_scorer(parts: Sequence[tuple[str, str, str, tuple[str, ...]]]) -> str:
    if all(choices for *_, choices in parts):
        return "choice"
    numeric = all(_NUMBER.fullmatch(answer.strip()) for _, _, answer, _ in parts)
    return "number" if numeric else "text"
