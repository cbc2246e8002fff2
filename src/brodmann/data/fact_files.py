"""`load_facts`: facts from the public sets' own files, from rows of one's own, from the hub."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from brodmann.data.fact_formats import FORMATS, FactFields, format_of
from brodmann.data.facts import Fact, places_of_words, prompt_fault
from brodmann.data.families.official_files import table
from brodmann.data.hub import downloaded, split_rows
from brodmann.data.pararel import pararel_root, read_pararel
from brodmann.data.rows import Row
from brodmann.data.spec import DataSpec
from brodmann.data.split import first_shuffled
from brodmann.data.write import write_json_lines
from brodmann.errors import DataError

_NO_TARGET = "target_new that is empty or the answer (the fact stays)"


class FactsLeftOut(UserWarning):
    """Rows of a published set that cannot be used as facts."""


@dataclass(frozen=True)
class LoadedFacts:
    """What a source of facts holds.

    Attributes:
        facts: those that can be used, in their order.
        left_out: reason -> how many were left out for it; reasons that begin with "paraphrase"
            or "target_new" count texts whose fact stays.
    """

    facts: tuple[Fact, ...]
    left_out: Mapping[str, int]

    def summary(self) -> str:
        """One line about what was left out; empty where nothing was."""
        return ", ".join(f"{count} x {reason}" for reason, count in self.left_out.items())


def load_facts(
    source: str | os.PathLike[str], *, limit: int | None = None, seed: int = 0
) -> list[Fact]:
    """Load facts, and warn of what could not be used; see :func:`read_facts`.

    Args:
        source: a file, a folder, or ``hub:ORG/NAME``.
        limit: the first so many after a seeded shuffle; None for all, in their order.
        seed: of the shuffle.

    Raises:
        DataError: as for :func:`read_facts`, or fewer facts than ``limit``.
    """
    if limit is not None and limit < 1:
        raise DataError(f"Expected a limit of at least 1, or none; got {limit}.")
    found = read_facts(source)
    if found.left_out:
        warnings.warn(f"{source}: left out {found.summary()}.", FactsLeftOut, stacklevel=2)
    return first_shuffled(found.facts, limit, seed, str(source))


def read_facts(source: str | os.PathLike[str]) -> LoadedFacts:
    """Read all facts of a source; its shape is known by its fields.

    - **CounterFact** (ROME): ``requested_rewrite``, ``paraphrase_prompts`` (with the unrelated
      text in front that they have), ``neighborhood_prompts`` (whose answer is the true one too).
    - **zsRE** (MEND): ``subject``, ``src``, ``rephrase``, ``answers`` (the first counts), ``alt``,
      ``loc``, ``loc_ans``; asked as ``Question: ...`` and ``Answer:``.
    - **Known-1000** (ROME): ``known_id``, ``subject``, ``attribute``, ``prompt``.
    - **ParaRel**: the folder, see :mod:`brodmann.data.pararel`.
    - **Rows of one's own**: ``subject``, ``prompt``, ``answer``, and what else a
      :class:`~brodmann.data.Fact` has.

    A file may be JSON lines, a JSON list or parquet; of a folder, ``train.jsonl`` and
    ``test.jsonl`` are joined. A row of a published set that cannot be used is left out and
    counted (so is one whose answer stands in its subject, which any model could copy); in rows of
    one's own it is an error, except for a ``target_new`` that is empty or the answer.

    Raises:
        DataError: a source that is missing or empty, an unknown shape, a row that lacks a field,
            a row of one's own that is no fact, an id that is there twice, no usable fact.
    """
    text = os.fspath(source)
    spec = DataSpec.parse(text)
    spec.check_options(["config"] if spec.kind == "hub" else [])
    if spec.kind == "named":
        raise DataError(f"Expected a file or folder of facts, or hub:ORG/NAME; got '{text}'.")
    left_out: Counter[str] = Counter()
    path = Path(spec.name).expanduser()
    root = pararel_root(path) if spec.kind == "path" else None
    if root is not None:
        fields, already = read_pararel(root)
        left_out.update(already)
        facts = _usable(fields, left_out)
    else:
        facts = _facts(_hub_rows(spec) if spec.kind == "hub" else _path_rows(path), left_out)
    found = LoadedFacts(tuple(facts), dict(left_out))
    if not facts:
        raise DataError(f"Expected facts that can be used in {text}; left out {found.summary()}.")
    return found


def holds_facts(source: str | os.PathLike[str]) -> bool:
    """Whether a source is in a shape of facts, and not rows that name their ``fact`` themselves.

    Raises:
        DataError: a source that is missing or empty, or that cannot be read.
    """
    spec = DataSpec.parse(os.fspath(source))
    if spec.kind != "path" or spec.options:
        return False
    path = Path(spec.name).expanduser()
    if pararel_root(path) is not None:
        return True
    row = _path_rows(path)[0]
    return "fact" not in row.values and any(known.needs <= row.values.keys() for known in FORMATS)


def write_facts(
    path: str | os.PathLike[str], facts: Sequence[Fact], overwrite: bool = False
) -> None:
    """Write facts as JSONL, which :func:`load_facts` gives back as they were.

    Raises:
        InputError: when the file exists and ``overwrite`` is off, or it cannot be written.
        DataError: when there are none.
        RunError: when writing fails.
    """
    rows = [
        asdict(fact)
        | {"neighbours": [{"prompt": prompt, "answer": told} for prompt, told in fact.neighbours]}
        for fact in facts
    ]
    write_json_lines(path, rows, "facts", overwrite)


def _path_rows(path: Path) -> list[Row]:
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"Expected a file or folder of facts at {path}; there is none.")
        return table(path)
    files = [path / f"{name}.jsonl" for name in ("train", "test")]
    there = [file for file in files if file.is_file()]
    if not there:
        raise DataError(
            f"Expected train.jsonl, test.jsonl, or ParaRel's pattern_data and trex_lms_vocab in "
            f"{path}; it has none. Give the path of one file."
        )
    return [row for file in there for row in table(file)]


def _hub_rows(spec: DataSpec) -> list[Row]:
    return [row for name, part in downloaded(spec).items() for row in split_rows(part, name, spec)]


def _facts(rows: Sequence[Row], left_out: Counter[str]) -> list[Fact]:
    shape = format_of(rows[0])
    for row in rows:
        if not shape.needs <= row.values.keys():
            raise DataError(
                f"Expected all rows in the shape of the first, {shape.name} "
                f"({', '.join(sorted(shape.needs))}); {row.where} has {', '.join(row.values)}."
            )
    found = [shape.read(row) for row in rows]
    named = [
        replace(fields, id=fields.id or f"fact-{number}")
        for number, fields in enumerate(found, start=1)
    ]
    if not shape.own:
        return _usable(named, left_out)
    facts = [_own_fact(*pair, left_out) for pair in zip(named, rows, strict=True)]
    twice = [name for name, count in Counter(fact.id for fact in facts).items() if count > 1]
    if twice:
        raise DataError(f"Expected an id of its own for each fact; '{twice[0]}' is there twice.")
    return facts


def _own_fact(fields: FactFields, row: Row, left_out: Counter[str]) -> Fact:
    try:
        return _made(_with_target(fields, left_out))
    except DataError as error:
        raise DataError(f"{error} (It is {row.where}.)") from None


def _usable(found: Iterable[FactFields], left_out: Counter[str]) -> list[Fact]:
    """The facts of a published set that can be used; the others are counted."""
    facts: dict[str, Fact] = {}
    for fields in found:
        reason = "id that is there twice" if fields.id in facts else _unusable(fields)
        if reason is not None:
            left_out[reason] += 1
            continue
        kept = []
        for text in dict.fromkeys(fields.paraphrases):
            fault = prompt_fault(text, fields.subject, fields.answer, fields.delimiter)
            fault = "the prompt again" if text == fields.prompt else fault
            if fault is None:
                kept.append(text)
            else:
                left_out[f"paraphrase: {fault}"] += 1
        neighbours = tuple(pair for pair in fields.neighbours if all(map(str.strip, pair)))
        if len(neighbours) < len(fields.neighbours):
            left_out["neighbour without prompt or answer"] += 1
        whole = replace(fields, paraphrases=tuple(kept), neighbours=neighbours)
        facts[fields.id] = _made(_with_target(whole, left_out))
    return list(facts.values())


def _unusable(fields: FactFields) -> str | None:
    if not fields.subject.strip() or not fields.answer.strip():
        return "no subject or no answer"
    if places_of_words(fields.subject.casefold(), fields.answer.casefold()):
        return "answer inside the subject"
    return prompt_fault(fields.prompt, fields.subject, fields.answer, fields.delimiter)


def _with_target(fields: FactFields, left_out: Counter[str]) -> FactFields:
    if fields.target_new is None:
        return fields
    target = fields.target_new.strip()
    if target and target != fields.answer:
        return replace(fields, target_new=target)
    left_out[_NO_TARGET] += 1
    return replace(fields, target_new=None)


def _made(fields: FactFields) -> Fact:
    # Not asdict: it would turn the pairs of neighbours into copies of another type.
    return Fact(**vars(fields))
