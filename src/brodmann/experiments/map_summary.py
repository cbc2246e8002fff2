"""The verdict in a few sentences: one for each kind of set, and what cannot be told."""

from collections.abc import Mapping, Sequence
from typing import Any

from brodmann.experiments.map_verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED

Row = Mapping[str, Any]

KINDS = {"raw": "Raw sets (the papers' rule)", "contrast": "Contrastive sets"}
"""How a rule's sets are called in sentences."""

_YES = {
    "cohesive": "cohesive",
    "relevant": "causally relevant",
    "separable": "separable",
    "specific": "specific in effect",
    "damaging": "damaging to neutral text",
    "answer_bound": "bound to the answers' tokens",
}


def summary(verdicts: Sequence[Row], base: Sequence[Row], *, preset: str) -> list[str]:
    """Return the sentences that a map ends with.

    Args:
        verdicts: the rows of :func:`brodmann.experiments.map_verdict.verdict`.
        base: the rows about the model as it is.
        preset: "demo" is said to be small.
    """
    sentences = []
    for variant, rule in dict.fromkeys((row["variant"], row["rule"]) for row in verdicts):
        rows = [r for r in verdicts if r["variant"] == variant and r["rule"] == rule]
        name = KINDS.get(rule, rule) + _of_variant(variant)
        sentences.append(f"{name}: {_told(rows)}.")
    low = [row["capability"] for row in base if row["near_floor"]]
    if low:
        sentences.append(
            f"Base accuracy on {', '.join(low)} is not above always giving the commonest answer: "
            "erasure cannot show anything in accuracy there; only the margin can tell."
        )
    if preset == "demo":
        sentences.append(
            "This is the demo preset: few items and few random draws (a rank, no p). "
            "Use --preset full for claims."
        )
    return sentences


def _of_variant(variant: str) -> str:
    if variant == "free":
        return ""
    return ", answers matched" if variant == "matched" else f", view '{variant}'"


def _told(rows: Sequence[Row]) -> str:
    """Tell each claim: a word where all capabilities agree, a count where they do not."""
    parts = []
    for claim, adjective in _YES.items():
        found = [row for row in rows if row["claim"] == claim]
        if not found:
            continue
        counts = {
            word: sum(row["verdict"] == word for row in found)
            for word in (SUPPORTED, NOT_SUPPORTED, UNDECIDED)
        }
        if counts[SUPPORTED] == len(found):
            parts.append(adjective)
        elif counts[NOT_SUPPORTED] == len(found):
            parts.append(f"not {adjective}")
        elif counts[UNDECIDED] == len(found):
            parts.append(f"undecided at this size whether {adjective}")
        else:
            parts.append(f"{adjective} in {_counted(found, counts)}")
    return ", ".join(parts)


def _counted(found: Sequence[Row], counts: Mapping[str, int]) -> str:
    told = f"{counts[SUPPORTED]} of {len(found)}"
    names = [row["capability"] for row in found if row["verdict"] == UNDECIDED]
    return told + (f" (undecided: {', '.join(names)})" if names else "")
