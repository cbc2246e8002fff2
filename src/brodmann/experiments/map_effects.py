"""From measurements to rows: effects with paired intervals, random controls, p where claimed."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from brodmann.errors import RunError
from brodmann.evaluate import holm, paired_difference, permutation_p
from brodmann.experiments.map_config import MIN_DRAWS_FOR_P, MapConfig
from brodmann.experiments.map_erase import Result
from brodmann.experiments.map_jobs import Job
from brodmann.experiments.map_sets import MapSet

Measured = Mapping[str, Any]
_BOOTSTRAP = 2000


def effect_tables(results: Sequence[Result], config: MapConfig) -> dict[str, list[dict[str, Any]]]:
    """Turn what was measured into the tables of a map.

    Args:
        results: every job with what it measured.
        config: its seed is used.

    Returns:
        ``base``, ``erasure`` (set × tested capability), ``controls`` (one row per random set),
        ``specificity_of_effects``, ``collateral``, ``dose`` and ``items`` (every answer of the
        model as it is and with each located set erased). Effects are after − before: accuracy,
        and margin in nats; negative is harm.
    """
    base = {str(job.tested): found for job, found in results if job.stage == "base"}
    of_stage = {
        stage: [(job, found) for job, found in results if job.stage == stage]
        for stage in ("erase", "control", "collateral", "dose")
    }
    controls = [_effect_row(job, found, base, config) for job, found in of_stage["control"]]
    erasure = [_effect_row(job, found, base, config) for job, found in of_stage["erase"]]
    _add_controls(erasure, controls)
    whole = [row for row in erasure if row["own"]] + [
        row for row in controls if row["kind"] == "layer"
    ]
    doses = [_effect_row(job, found, base, config) for job, found in of_stage["dose"]]
    return {
        "base": [_base_row(name, found) for name, found in base.items()],
        "erasure": erasure,
        "controls": controls,
        "specificity_of_effects": _specificity(of_stage["erase"], base, config),
        "collateral": [_damage_row(job, found) for job, found in of_stage["collateral"]],
        "dose": sorted(doses + (whole if 1.0 in config.doses else []), key=_dose_order),
        "items": [row for job, found in results for row in _item_rows(job, found)],
    }


def _base_row(name: str, found: Measured) -> dict[str, Any]:
    # Where all items have one answer, the commonest answer says nothing.
    floor = max(found["chance"], found["majority"] if found["majority"] < 1 else 0.0)
    return {
        "capability": name,
        "n": found["n"],
        "independent": found["n_independent"],
        "scorer": found["scorer"],
        "accuracy": found["accuracy"],
        "low": found["interval"][0],
        "high": found["interval"][1],
        "margin": found["margin"],
        "margin_low": found["margin_interval"][0],
        "margin_high": found["margin_interval"][1],
        "chance": found["chance"],
        "majority": found["majority"],
        "near_floor": found["interval"][0] <= floor,
        "format_rate": found["format_rate"],
    }


def _labels(job: Job) -> dict[str, Any]:
    assert job.source is not None and job.neurons is not None
    return job.source.labels | {
        "kind": job.kind,
        "draw": job.draw,
        "fraction": job.fraction,
        "neurons": len(job.neurons),
    }


def _effect_row(
    job: Job, found: Measured, base: Mapping[str, Measured], config: MapConfig
) -> dict[str, Any]:
    before = base[str(job.tested)]
    row = _labels(job) | {
        "tested": job.tested,
        "own": job.source is not None and job.source.capability == job.tested,
        "n": found["n"],
        "accuracy": found["accuracy"],
        "accuracy_low": found["interval"][0],
        "accuracy_high": found["interval"][1],
        "margin": found["margin"],
        "format_rate": found["format_rate"],
    }
    for name, measure in (("d_accuracy", "correct"), ("d_margin", "margin")):
        change = paired_difference(
            _column(before, measure),
            _column(found, measure),
            groups=_groups(before),
            seed=config.seed,
        )
        row |= {name: change.mean, f"{name}_low": change.interval[0]}
        row |= {f"{name}_high": change.interval[1]}
    return row


def _add_controls(erasure: Sequence[dict[str, Any]], controls: Sequence[Mapping[str, Any]]) -> None:
    """Set each effect on the set's own capability beside those of its random sets.

    p is claimed from :data:`MIN_DRAWS_FOR_P` draws on, and adjusted (Holm) over the diagonal of
    one matrix: the capabilities' sets of one rule and variant.
    """
    families: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in (row for row in erasure if row["own"]):
        for name, kind in (("random", "layer"), ("norm", "norm")):
            drawn = [c for c in controls if c["set"] == row["set"] and c["kind"] == kind]
            if not drawn:
                continue
            row[f"{name}_draws"] = len(drawn)
            for effect in ("d_accuracy", "d_margin"):
                _place(row, f"{name}_{effect}", row[effect], [c[effect] for c in drawn])
                family = (row["variant"], row["rule"], f"{name}_{effect}")
                families.setdefault(family, []).append(row)
    for (_, _, name), rows in families.items():
        claimed = [row for row in rows if f"{name}_p" in row]
        adjusted = holm([row[f"{name}_p"] for row in claimed])
        for row, p in zip(claimed, adjusted, strict=True):
            row[f"{name}_p_holm"] = p


def _place(row: dict[str, Any], name: str, effect: float, random: Sequence[float]) -> None:
    """Put an effect's place among random ones into its row; a fall is a negative effect."""
    place = permutation_p(-effect, [-value for value in random])
    row[name] = math.fsum(random) / len(random)
    row[f"{name}_worst"] = min(random)
    row[f"{name}_rank"] = place.rank
    if len(random) >= MIN_DRAWS_FOR_P:
        row[f"{name}_p"] = place.p


def _specificity(
    erased: Sequence[Result], base: Mapping[str, Measured], config: MapConfig
) -> list[dict[str, Any]]:
    """How much more each set harms its own capability than each other one, with an interval.

    The capabilities' items are resampled independently, expressions as wholes.
    """
    by_set: dict[str, tuple[MapSet, dict[str, Measured]]] = {}
    for job, found in erased:
        assert job.source is not None
        by_set.setdefault(job.source.name, (job.source, {}))[1][str(job.tested)] = found
    rows = []
    for one, found in by_set.values():
        for other in found:
            if other == one.capability:
                continue
            row = one.labels | {"other": other}
            for name, measure in (("d_accuracy", "correct"), ("d_margin", "margin")):
                own_drops, other_drops = (
                    _resampled_drops(base[tested], found[tested], measure, [config.seed, which])
                    for which, tested in enumerate((one.capability, other))
                )
                low, high = np.quantile(own_drops[1] - other_drops[1], [0.025, 0.975])
                row |= {name: own_drops[0] - other_drops[0]}
                row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
            rows.append(row)
    return rows


def _resampled_drops(
    before: Measured, after: Measured, measure: str, seed: Sequence[int]
) -> tuple[float, np.ndarray]:
    """Return the mean drop, and the mean drops of bootstrap samples of expressions."""
    drops = np.array(_column(before, measure)) - np.array(_column(after, measure))
    numbers: dict[Hashable, int] = {}
    index = [numbers.setdefault(group, len(numbers)) for group in _groups(before)]
    sums, sizes = np.bincount(index, weights=drops), np.bincount(index)
    n = len(sums)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAP)
    return float(drops.mean()), (counts @ sums) / (counts @ sizes)


def _damage_row(job: Job, found: Measured) -> dict[str, Any]:
    after = found["perplexity_after"]
    return _labels(job) | {
        "perplexity_before": found["perplexity_before"],
        "perplexity_after": after,
        "perplexity_ratio": None if after is None else after / found["perplexity_before"],
        "kl": found["kl"],
        "n_tokens": found["n_tokens"],
    }


def _item_rows(job: Job, found: Measured) -> list[dict[str, Any]]:
    if job.stage not in ("base", "erase"):
        return []
    erased = job.source.name if job.source else None
    return [
        {"erased": erased, "tested": job.tested, "index": index} | row
        for index, row in enumerate(found["rows"])
    ]


def _column(found: Measured, measure: str) -> list[float]:
    values = [row[measure] for row in found["rows"]]
    if any(value is None for value in values):
        raise RunError(
            f"Expected finite measurements; some {measure}s are not: the model overflows in its "
            "type. Start anew with --dtype float32 --overwrite."
        )
    return [float(value) for value in values]


def _groups(found: Measured) -> list[Hashable]:
    return [row.get("expression", index) for index, row in enumerate(found["rows"])]


def _dose_order(row: Mapping[str, Any]) -> tuple[str, str, float, int]:
    draw = row["draw"]
    return row["set"], row["kind"], row["fraction"], -1 if draw is None else draw
