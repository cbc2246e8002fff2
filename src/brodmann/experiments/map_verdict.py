"""What the numbers of a map support, in plain words: a pure function of its rows.

Every verdict compares an interval with a level, so that "undecided at this size" is an answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brodmann.experiments.map_config import Thresholds

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided at this size"

CLAIMS = {
    "cohesive": "two samples of the capability give the same set",
    "relevant": "erasing the set harms its capability more than any random set of its size",
    "separable": "other capabilities' sets are different neurons",
    "specific": "erasing the set harms its capability more than each other one",
    "damaging": "erasing the set damages the reading of neutral text, too, beyond random sets",
    "answer_bound": "the set stands for the answers' tokens, not the operation",
}
"""The claims that a verdict is about, in the order they are told."""

ALPHA = 0.05


def verdict(tables: Tables, thresholds: Thresholds) -> list[dict[str, Any]]:
    """Judge every claim for every set that was erased (and cohesion for the others).

    Args:
        tables: the map's rows by table name.
        thresholds: where verdicts change.

    Returns:
        Rows of ``set``, ``capability``, ``variant``, ``rule``, ``claim``, ``verdict`` and
        ``because`` (a sentence with the numbers).
    """
    judges: dict[str, Callable[[Row, Tables, Thresholds], tuple[str, str] | None]] = {
        "cohesive": _cohesive,
        "relevant": _relevant,
        "separable": _separable,
        "specific": _specific,
        "damaging": _damaging,
        "answer_bound": _answer_bound,
    }
    rows = []
    for one in tables["sets"]:
        for claim, judge in judges.items():
            judged = _empty(one, claim) or judge(one, tables, thresholds)
            if judged is not None:
                kept = {key: one[key] for key in ("set", "capability", "variant", "rule")}
                rows.append(kept | {"claim": claim, "verdict": judged[0], "because": judged[1]})
    return rows


def _empty(one: Row, claim: str) -> tuple[str, str] | None:
    if one["neurons"]:
        return None
    return (NOT_SUPPORTED, "The rule selected no neurons.") if claim == "cohesive" else None


def _cohesive(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    row = _one(tables["similarity"], kind="cohesion", a=one["capability"], **_which(one))
    if row is None or row["value"] is None:
        return NOT_SUPPORTED, "The halves select no neurons."
    told = (
        f"Two samples share {_ratio(row)} of the larger set; layer-matched chance "
        f"{row['chance_layer_matched']:.3f}, p {_p(row['p_layer_matched'])}."
    )
    data = _one(tables["data"], variant=one["variant"], capability=one["capability"])
    if data is not None and data["halves"] == "contexts":
        return UNDECIDED, f"{told} But the samples share expressions behind other solved examples."
    above = row["p_layer_matched"] is not None and row["p_layer_matched"] < ALPHA
    if row["low"] is None:
        return UNDECIDED, told
    if above and row["low"] >= thresholds.cohesive:
        return SUPPORTED, told
    return (NOT_SUPPORTED if not above or row["high"] < thresholds.cohesive else UNDECIDED), told


def _relevant(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    """Judged by the margin, which moves before accuracy does; accuracy is told beside it."""
    row = _one(tables["erasure"], set=one["set"], own=True)
    if row is None or not row.get("random_draws"):
        return None
    draws, rank, worst = (
        row[f"random_{key}"] for key in ("draws", "d_margin_rank", "d_margin_worst")
    )
    p = row.get("random_d_margin_p_holm")
    told = (
        f"Its margin changes by {_effect(row, 'd_margin')} nats; the worst of {draws} "
        f"layer-matched random sets by {worst:+.2f} ("
        + (f"p {_p(p)}, Holm" if p is not None else f"rank {rank} of {draws + 1}, no p")
        + f"). Accuracy changes by {_effect(row, 'd_accuracy')}; worst random "
        f"{row['random_d_accuracy_worst']:+.2f}."
    )
    if row["d_margin_low"] >= 0 or rank > 1 + draws // 20:
        return NOT_SUPPORTED, told
    beyond = p < ALPHA if p is not None else row["d_margin_high"] < worst
    if row.get("norm_draws"):
        told += (
            f" Of {row['norm_draws']} random sets of the same activation size the worst changes "
            f"it by {row['norm_d_margin_worst']:+.2f}."
        )
        beyond = beyond and row["d_margin_high"] < row["norm_d_margin_worst"]
    return (SUPPORTED if beyond and row["d_margin_high"] < 0 else UNDECIDED), told


def _separable(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    row = _one(tables["specificity"], set=one["set"])
    if row is None or row["within"] is None or row["across"] is None:
        return None
    limit = thresholds.separable * row["within"]
    told = (
        f"It shares {row['across']:.2f} [{_number(row['across_low'])}, "
        f"{_number(row['across_high'])}] with other capabilities' sets and {row['within']:.2f} "
        f"with itself from another sample; separable is below {limit:.2f}."
    )
    if row["across_low"] is None:
        return UNDECIDED, told
    if row["across_high"] < limit:
        return SUPPORTED, told
    return (NOT_SUPPORTED if row["across_low"] > limit else UNDECIDED), told


def _specific(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    rows = [r for r in tables["specificity_of_effects"] if r["set"] == one["set"]]
    if not rows:
        return None
    hardest = min(rows, key=lambda row: row["d_margin"])
    told = (
        f"The fall of its own margin minus that of {hardest['other']} (the other capability "
        f"closest to it) is {_effect(hardest, 'd_margin')} nats; of accuracy "
        f"{_effect(hardest, 'd_accuracy')}."
    )
    own = _one(tables["erasure"], set=one["set"], own=True)
    if own is not None and own["d_margin"] >= 0:
        return NOT_SUPPORTED, "Erasing it does not lower its own margin. " + told
    if all(row["d_margin_low"] > 0 for row in rows):
        rival = _hardest_rival(one, own, tables)
        if rival is None:
            return SUPPORTED, told
        return UNDECIDED, f"{told} But erasing the set of {rival} lowers this margin as much."
    return (NOT_SUPPORTED if any(row["d_margin_high"] <= 0 for row in rows) else UNDECIDED), told


def _hardest_rival(one: Row, own: Row | None, tables: Tables) -> str | None:
    """The capability whose set harms this one as much as its own set does, if there is one.

    Capabilities start at different margins and have different room to fall; down a column of the
    matrix the room is the same.
    """
    if own is None:
        return None
    column = [
        row
        for row in tables["erasure"]
        if row["tested"] == one["capability"] and not row["own"]
        if row["variant"] == one["variant"] and row["rule"] == one["rule"]
    ]
    worst = min(column, key=lambda row: row["d_margin"], default=None)
    if worst is None or own["d_margin_high"] < worst["d_margin"]:
        return None
    return str(worst["capability"])


def _damaging(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    rows = [r for r in tables["collateral"] if r["set"] == one["set"]]
    own = _one(rows, kind="located")
    if own is None or own["perplexity_ratio"] is None:
        return None if own is None else (SUPPORTED, "Perplexity on neutral text is infinite.")
    ratio = own["perplexity_ratio"]
    drawn = [r["perplexity_ratio"] or float("inf") for r in rows if r["kind"] == "layer"]
    told = f"Perplexity on neutral text times {ratio:.2f}, KL {own['kl']:.2f} nats"
    if not drawn:
        return UNDECIDED, told + "; no random sets to compare with."
    draws = f"{len(drawn)} draw" + ("s" if len(drawn) > 1 else "")
    told += f"; the worst random set times {max(drawn):.2f} ({draws})."
    if ratio >= thresholds.damaging:
        return (SUPPORTED if ratio > max(drawn) else UNDECIDED), told
    return NOT_SUPPORTED, told


def _answer_bound(one: Row, tables: Tables, thresholds: Thresholds) -> tuple[str, str] | None:
    if one["variant"] != "free":
        return None
    row = _one(tables["similarity"], kind="answers", a=one["capability"], rule=one["rule"])
    within = _one(tables["specificity"], set=one["set"])
    if row is None or within is None or row["value"] is None or not within["within"]:
        return None
    limit = thresholds.same_set * within["within"]
    told = (
        f"With the same answers for all operators the rule finds {_ratio(row)} of the same "
        f"neurons; a set that stands for the operation keeps more than {limit:.2f}."
    )
    if row["low"] is None:
        return UNDECIDED, told
    if row["low"] > limit and row["low"] <= (within["across_high"] or 0.0):
        return UNDECIDED, f"{told} But so much is shared with other capabilities, too."
    if row["low"] > limit:
        return NOT_SUPPORTED, told
    return (SUPPORTED if row["high"] < limit else UNDECIDED), told


def _which(one: Row) -> dict[str, Any]:
    return {"variant": one["variant"], "rule": one["rule"]}


def _one(rows: Sequence[Row], **cells: Any) -> Row | None:
    return next((r for r in rows if all(r.get(k) == v for k, v in cells.items())), None)


def _ratio(row: Row) -> str:
    return f"{row['value']:.2f} [{_number(row['low'])}, {_number(row['high'])}]"


def _effect(row: Row, name: str) -> str:
    return f"{row[name]:+.2f} [{row[f'{name}_low']:+.2f}, {row[f'{name}_high']:+.2f}]"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
