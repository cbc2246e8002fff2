"""ParaRel: facts of one relation a file, asked for by that relation's patterns.

The published folder holds ``pattern_data/graphs_json/P*.jsonl`` (patterns) and
``trex_lms_vocab/P*.jsonl`` (subjects with their objects). A causal model can answer only patterns
that end in the object.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from brodmann.data.fact_formats import FactFields
from brodmann.data.jsonl import read_rows
from brodmann.data.prompt_template import as_text
from brodmann.data.rows import Row
from brodmann.errors import DataError

PATTERNS, FACTS = Path("pattern_data/graphs_json"), Path("trex_lms_vocab")
_SUBJECT, _OBJECT = "[X]", "[Y]"


def pararel_root(folder: Path) -> Path | None:
    """Where in a folder ParaRel's two folders stand: in itself or in ``data``; None: nowhere."""
    for root in (folder, folder / "data"):
        if (root / PATTERNS).is_dir() and (root / FACTS).is_dir():
            return root
    return None


def read_pararel(root: Path) -> tuple[list[FactFields], Mapping[str, int]]:
    """Read all relations that have both files.

    The first usable pattern of a relation gives the prompt, the others the paraphrases. A subject
    with several objects is left out: no answer would be the right one.

    Returns:
        The facts, and how many rows were left out for what reason.

    Raises:
        DataError: when no relation has a usable pattern, or a row lacks a field.
    """
    facts: list[FactFields] = []
    left_out: Counter[str] = Counter()
    for path in sorted((root / PATTERNS).glob("P*.jsonl")):
        rows_path = root / FACTS / path.name
        if not rows_path.is_file():
            continue
        patterns = _patterns(read_rows(path))
        rows = read_rows(rows_path)
        if not patterns:
            left_out["no pattern of the relation ends in the object"] += len(rows)
            continue
        found = _facts(path.stem, patterns, rows)
        left_out["several answers for one subject"] += len(rows) - len(found)
        facts += found
    if not facts:
        raise DataError(
            f"Expected patterns that end in [Y], and facts of the same relations, in {root}; there "
            "are none."
        )
    return facts, +left_out


def _patterns(rows: Sequence[Row]) -> list[str]:
    """The patterns that end in the object, cut off in front of it; each once."""
    found = []
    for row in rows:
        pattern = as_text(row.values, "pattern", row.where, "pattern").rstrip(" .")
        front = pattern.removesuffix(_OBJECT)
        if pattern.endswith(_OBJECT) and _SUBJECT in front and _OBJECT not in front:
            found.append(front.rstrip())
    return list(dict.fromkeys(found))


def _facts(relation: str, patterns: Sequence[str], rows: Sequence[Row]) -> list[FactFields]:
    named = [
        (
            as_text(row.values, "sub_label", row.where, "sub_label"),
            as_text(row.values, "obj_label", row.where, "obj_label"),
            str(row.values.get("uuid") or number),
        )
        for number, row in enumerate(rows, start=1)
    ]
    times = Counter(subject for subject, _, _ in named)
    return [
        _fact(relation, patterns, subject, answer, name)
        for subject, answer, name in named
        if times[subject] == 1
    ]


def _fact(
    relation: str, patterns: Sequence[str], subject: str, answer: str, name: str
) -> FactFields:
    first, *others = (pattern.replace(_SUBJECT, subject) for pattern in patterns)
    return FactFields(
        id=f"pararel-{relation}-{name}",
        subject=subject,
        relation=relation,
        prompt=first,
        answer=answer,
        paraphrases=tuple(others),
    )
