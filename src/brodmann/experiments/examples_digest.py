"""A digest of the very examples that something was measured on, for keys and provenance."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from brodmann.data import DataSpec, Example


def judged_by(spec: DataSpec, examples: Sequence[Example]) -> Any:
    """What scores examples, where that does not follow from the name of their data set.

    Of a file it is guessed from all of its rows, or stands in them.
    """
    if "scorer" in spec.options or spec.kind == "named":
        return spec.options.get("scorer")
    return [[e.meta.get("scorer"), e.meta.get("expression")] for e in examples]


def examples_digest(examples: Sequence[Example], scorer: Any = None) -> str:
    """Return a digest of what the model reads of examples, and what it is judged by, for keys.

    Args:
        examples: them, with the tests of their programs.
        scorer: what scores them, in JSON types; None where it follows from the data.
    """
    texts: list[Any] = [[e.prompt, e.delimiter, e.answer, list(e.choices)] for e in examples]
    scored_by = [scorer, *(e.meta["code"] for e in examples if "code" in e.meta)]
    if any(scored_by):
        texts.append(scored_by)
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
