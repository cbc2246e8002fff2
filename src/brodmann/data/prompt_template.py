r"""Prompts made from a row's columns: ``Q: {question}\nA:``, or a jinja2 template.

A template with ``{{``, ``{%`` or ``{#`` is jinja2's, run in its sandbox, without HTML escaping
(a prompt is no page). Any other is plain: ``{column}`` is replaced by that column's text and
nothing else is special, so no attribute or index of a value can be reached.
"""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from brodmann.errors import DataError

_FIELD = re.compile(r"\{([^{}]*)\}")
_JINJA = ("{{", "{%", "{#")


class PromptTemplate:
    """A template of a prompt.

    Args:
        text: the template.

    Raises:
        DataError: when it is not well formed, or uses no column.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._jinja = None
        if any(mark in text for mark in _JINJA):
            self._jinja = _compiled(text)
            return
        self._fields = _FIELD.findall(text)
        rest = _FIELD.sub("", text)
        if not self._fields or "{" in rest or "}" in rest:
            raise DataError(
                f"Expected a template with {{column}} in it, such as 'Q: {{question}}\\nA:', or "
                f"a jinja2 template for anything more; got '{text}'."
            )

    def render(self, row: Mapping[str, Any], where: str) -> str:
        """Return the prompt of ``row``; ``where`` names the row in errors.

        Raises:
            DataError: when the row lacks a column, or a column holds neither text nor a number.
        """
        if self._jinja is None:
            texts = {name: as_text(row, name, where, "template=") for name in self._fields}
            return _FIELD.sub(lambda match: texts[match[1]], self.text)
        try:
            return self._jinja.render(row)
        except Exception as error:  # a template may raise anything while it runs
            reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
            raise DataError(
                f"Expected the template to fit {where}; got: {reason}. Columns: {_names(row)}."
            ) from error


def as_text(row: Mapping[str, Any], column: str, where: str, option: str) -> str:
    """Return the text in a column; a number becomes text.

    Args:
        row: the row.
        column: the name of the column.
        where: what the row is called in errors, such as ``"line 3 of rows.jsonl"``.
        option: the option that names the column, such as ``"prompt="``.

    Raises:
        DataError: when there is no such column, or it holds something else.
    """
    if column not in row:
        raise DataError(
            f"Expected '{column}' in {where}; its keys are {_names(row)}. "
            f"Name the right one with {option}."
        )
    return to_text(row[column], f"'{column}' in {where}")


def to_text(value: Any, what: str) -> str:
    """Return a string as it is and a number as text.

    Raises:
        DataError: for any other type, or text that no encoding can hold.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"Expected text or a number as {what}; got {_kind(value)}.")
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"Expected valid Unicode as {what}; got half a surrogate pair.") from None
    return text


def _compiled(text: str) -> Any:
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    try:
        return environment.from_string(text)
    except TemplateError as error:
        raise DataError(f"Expected a jinja2 template; '{text}' is not one: {error}.") from error


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row)) or "none"


def _kind(value: Any) -> str:
    names = {bool: "true or false", type(None): "null", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
