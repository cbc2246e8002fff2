"""The shapes in which facts are published, and what each one's fields mean.

A shape is known by its fields. Its reader turns a row into :class:`FactFields`, which are as the
row has them: what cannot be used is found, and counted, in :mod:`brodmann.data.fact_files`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.data.prompt_template import as_text, to_text
from brodmann.data.rows import Row
from brodmann.errors import DataError

QUESTION = "Question: {}\nAnswer:"
"""How zsRE's questions are asked of a model that continues text."""

_NATURAL_QUESTION = "nq question: "
"""What MEND puts in front of the questions that an edit must leave."""


@dataclass(frozen=True, kw_only=True)
class FactFields:
    """A fact as a row has it, not yet checked; the fields are those of :class:`Fact`.

    ``id`` is empty where the row has none.
    """

    subject: str
    prompt: str
    answer: str
    id: str = ""
    relation: str = ""
    paraphrases: tuple[str, ...] = ()
    delimiter: str = " "
    target_new: str | None = None
    neighbours: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FactFormat:
    """One shape of rows.

    Attributes:
        name: what it is called.
        needs: the fields that tell it from others.
        read: turns a row into a fact's fields.
        own: the rows are the user's own words, so that a bad one is an error. A bad row of a
            published set is left out and counted.
    """

    name: str
    needs: frozenset[str]
    read: Callable[[Row], FactFields]
    own: bool = False


def format_of(row: Row) -> FactFormat:
    """Return the shape that a row has.

    Raises:
        DataError: naming the shapes, when it is none of them.
    """
    for known in FORMATS:
        if known.needs <= row.values.keys():
            return known
    shapes = "; ".join(f"{known.name} ({', '.join(sorted(known.needs))})" for known in FORMATS)
    raise DataError(
        f"Expected facts in one of the shapes {shapes}, or ParaRel's folder; {row.where} has the "
        f"fields {', '.join(map(str, row.values)) or 'none'}."
    )


def _counterfact(row: Row) -> FactFields:
    """CounterFact (ROME): a request to rewrite a fact, with prompts to judge the edit by."""
    request = _mapping(row, "requested_rewrite")
    subject = _text(request, "subject", row)
    true, new = (
        _text(_part(request, name, row), "str", row).strip()
        for name in ("target_true", "target_new")
    )
    return FactFields(
        id=f"counterfact-{row.values['case_id']}" if "case_id" in row.values else "",
        subject=subject,
        relation=str(request.get("relation_id", "")),
        prompt=_text(request, "prompt", row).replace("{}", subject).rstrip(),
        answer=true,
        paraphrases=_texts(row, "paraphrase_prompts"),
        target_new=new,
        neighbours=tuple((prompt, true) for prompt in _texts(row, "neighborhood_prompts")),
    )


def _zsre(row: Row) -> FactFields:
    """ZsRE as MEND gives it: a question, a rephrased one, and one that an edit must leave."""
    answers = row.values["answers"]
    if not isinstance(answers, list | tuple):
        raise DataError(f"Expected a list of answers in {row.where}; got {answers!r}.")
    return FactFields(
        subject=_text(row.values, "subject", row),
        prompt=QUESTION.format(_text(row.values, "src", row).strip()),
        answer=to_text(answers[0], f"an answer in {row.where}").strip() if answers else "",
        paraphrases=tuple(QUESTION.format(text) for text in _texts(row, "rephrase")),
        target_new=_optional(row, "alt"),
        neighbours=_one_neighbour(row, "loc", "loc_ans", QUESTION),
    )


def _known_1000(row: Row) -> FactFields:
    """Known-1000 (ROME): the facts of causal tracing, with one prompt each."""
    return FactFields(
        id=f"known-{_text(row.values, 'known_id', row)}",
        subject=_text(row.values, "subject", row),
        relation=_optional(row, "relation_id") or "",
        prompt=_text(row.values, "prompt", row).rstrip(),
        answer=_text(row.values, "attribute", row).strip(),
    )


def _own(row: Row) -> FactFields:
    """Rows with subject, prompt and answer, and as many of a fact's other fields as there are.

    Where a row's prompt is a frame around its ``question`` (``Question: ...``), paraphrases are
    put into the same frame. A neighbour may also stand in ``locality_prompt`` (or
    ``locality_question``) and ``locality_answer``.
    """
    prompt = _text(row.values, "prompt", row)
    front, question, back = prompt.partition(_optional(row, "question") or prompt)
    frame = "{}" if not question else _literal(front) + "{}" + _literal(back)
    paraphrases = [frame.format(text) for text in _texts(row, "paraphrases")]
    raw = _text(row.values, "answer", row)
    answer = raw.lstrip()
    space = raw[: len(raw) - len(answer)]
    delimiter = _optional(row, "delimiter")
    return FactFields(
        id=_optional(row, "id") or "",
        subject=_text(row.values, "subject", row),
        relation=_optional(row, "relation") or "",
        prompt=prompt,
        answer=answer,
        paraphrases=tuple(dict.fromkeys(text for text in paraphrases if text != prompt)),
        delimiter=(space or " ") if delimiter is None else delimiter + space,
        target_new=_optional(row, "target_new"),
        neighbours=(
            *_listed_neighbours(row),
            *_one_neighbour(row, "locality_prompt", "locality_answer", "{}"),
            *_one_neighbour(row, "locality_question", "locality_answer", frame),
        ),
    )


FORMATS = (
    FactFormat("CounterFact", frozenset({"requested_rewrite"}), _counterfact),
    FactFormat("zsRE of MEND", frozenset({"subject", "src", "answers"}), _zsre),
    FactFormat(
        "Known-1000", frozenset({"known_id", "subject", "attribute", "prompt"}), _known_1000
    ),
    FactFormat("own rows", frozenset({"subject", "prompt", "answer"}), _own, own=True),
)
"""The shapes of rows; the first that fits is taken."""


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _mapping(row: Row, column: str) -> Mapping[str, Any]:
    return _part(row.values, column, row)


def _part(values: Mapping[str, Any], name: str, row: Row) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, Mapping):
        raise DataError(f"Expected an object as '{name}' in {row.where}; got {found!r}.")
    return found


def _text(values: Mapping[str, Any], name: str, row: Row) -> str:
    if name not in values:
        raise DataError(f"Expected '{name}' in {row.where}; its fields are {', '.join(values)}.")
    return to_text(values[name], f"'{name}' in {row.where}")


def _optional(row: Row, column: str) -> str | None:
    value = row.values.get(column)
    return None if value is None else to_text(value, f"'{column}' in {row.where}")


def _texts(row: Row, column: str) -> tuple[str, ...]:
    """A column of texts, or of one, or none; without white space behind them."""
    value = row.values.get(column)
    listed: Sequence[Any] = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        raise DataError(f"Expected a list of texts as '{column}' in {row.where}; got {value!r}.")
    return tuple(to_text(text, f"'{column}' in {row.where}").rstrip() for text in listed)


def _one_neighbour(row: Row, prompt: str, answer: str, frame: str) -> tuple[tuple[str, str], ...]:
    asked, told = _optional(row, prompt), _optional(row, answer)
    if asked is None or told is None:
        return ()
    return ((frame.format(asked.removeprefix(_NATURAL_QUESTION).rstrip()), told.strip()),)


def _listed_neighbours(row: Row) -> tuple[tuple[str, str], ...]:
    listed = row.values.get("neighbours") or ()
    if not isinstance(listed, list | tuple) or not all(isinstance(n, Mapping) for n in listed):
        raise DataError(
            f'Expected a list of {{"prompt": ..., "answer": ...}} as \'neighbours\' in {row.where}.'
        )
    return tuple(
        (as_text(n, "prompt", row.where, "prompt"), as_text(n, "answer", row.where, "answer"))
        for n in listed
    )
