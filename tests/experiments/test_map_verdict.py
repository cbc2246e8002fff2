"""Verdicts on hand-made rows: each sentence must follow from its interval."""

import pytest

from brodmann.experiments.map_config import Thresholds
from brodmann.experiments.map_summary import summary
from brodmann.experiments.map_verdict import verdict

ONE = {"set": "add.raw", "capability": "add", "variant": "free", "rule": "raw"}
YES, NO, OPEN = "supported", "not supported", "undecided at this size"


def tables(**changes):
    """Rows of one set that is all that is claimed: cohesive, relevant, separable, specific."""
    cohesion = {
        "kind": "cohesion", "a": "add", "rule": "raw", "variant": "free", "value": 0.9,
        "low": 0.8, "high": 0.95, "chance_layer_matched": 0.01, "p_layer_matched": 1e-9,
    }  # fmt: skip
    parts = {
        "sets": ONE | {"neurons": 80},
        "data": ONE | {"halves": "expressions"},
        "similarity": cohesion,
        "answers": cohesion | {"kind": "answers", "value": 0.7, "low": 0.6, "high": 0.8},
        "specificity": ONE
        | {"within": 0.9, "across": 0.1, "across_low": 0.05, "across_high": 0.15},
        "erasure": ONE | {"own": True, "tested": "add"} | effect("d_margin", -2.0, -2.5, -1.5)
        | effect("d_accuracy", -0.4, -0.5, -0.3)
        | {"random_draws": 3, "random_d_margin_rank": 1, "random_d_margin_worst": -0.2}
        | {"random_d_accuracy_worst": -0.05},
        "specificity_of_effects": ONE | {"other": "mul"} | effect("d_margin", 1.0, 0.5, 1.5)
        | effect("d_accuracy", 0.2, 0.1, 0.3),
        "collateral": ONE | {"kind": "located", "perplexity_ratio": 1.1, "kl": 0.1},
        "random": ONE | {"kind": "layer", "perplexity_ratio": 1.02, "kl": 0.01},
    }  # fmt: skip
    for name, change in changes.items():
        parts[name] = parts[name] | change
    found = {name: [row] for name, row in parts.items()}
    found["similarity"] += found.pop("answers")
    found["collateral"] += found.pop("random")
    return found


def effect(name, mean, low, high):
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def judged(claim, **changes):
    rows = verdict(tables(**changes), Thresholds())
    return next((row["verdict"] for row in rows if row["claim"] == claim), None)


@pytest.mark.parametrize(("fall", "expected"), [(-0.5, YES), (-1.9, OPEN), (-3.0, OPEN)])
def test_specific_means_that_no_other_set_harms_the_capability_as_much(fall, expected):
    found = tables()
    rival = ONE | {"set": "mul.raw", "capability": "mul", "own": False, "tested": "add"}
    found["erasure"].append(rival | effect("d_margin", fall, fall - 0.1, fall + 0.1))
    rows = verdict(found, Thresholds())
    assert next(row["verdict"] for row in rows if row["claim"] == "specific") == expected


@pytest.mark.parametrize(
    ("claim", "changes", "expected"),
    [
        ("cohesive", {}, YES),
        ("cohesive", {"similarity": {"low": 0.4}}, OPEN),
        ("cohesive", {"similarity": {"low": 0.1, "high": 0.4}}, NO),
        ("cohesive", {"similarity": {"p_layer_matched": 0.2}}, NO),
        ("cohesive", {"similarity": {"low": None, "high": None}}, OPEN),
        ("cohesive", {"similarity": {"value": None}}, NO),
        ("cohesive", {"sets": {"neurons": 0}}, NO),
        ("cohesive", {"data": {"halves": "contexts"}}, OPEN),
        ("relevant", {}, YES),
        ("relevant", {"erasure": {"norm_draws": 20, "norm_d_margin_worst": -0.3}}, YES),
        ("relevant", {"erasure": {"norm_draws": 20, "norm_d_margin_worst": -1.8}}, OPEN),
        ("relevant", {"erasure": effect("d_margin", -2.0, -4.0, -0.1)}, OPEN),
        ("relevant", {"erasure": effect("d_margin", 0.5, 0.1, 0.9)}, NO),
        ("relevant", {"erasure": {"random_d_margin_rank": 2}}, NO),
        ("relevant", {"erasure": {"random_draws": 99, "random_d_margin_p_holm": 0.04}}, YES),
        ("relevant", {"erasure": {"random_draws": 99, "random_d_margin_p_holm": 0.08}}, OPEN),
        ("relevant", {"erasure": {"random_draws": None}}, None),
        ("separable", {}, YES),
        ("separable", {"specificity": {"across_high": 0.4}}, OPEN),
        ("separable", {"specificity": {"across_low": 0.3, "across_high": 0.4}}, NO),
        ("specific", {}, YES),
        ("specific", {"specificity_of_effects": {"d_margin_low": -0.1}}, OPEN),
        ("specific", {"specificity_of_effects": effect("d_margin", -1.0, -2.0, -0.5)}, NO),
        ("specific", {"erasure": effect("d_margin", 0.5, 0.1, 0.9)}, NO),
        ("damaging", {}, NO),
        ("damaging", {"collateral": {"perplexity_ratio": 3.0}}, YES),
        ("damaging", {"collateral": {"perplexity_ratio": None}}, YES),
        ("damaging", {"collateral": {"perplexity_ratio": 3.0},
                      "random": {"perplexity_ratio": 4.0}}, OPEN),
        ("answer_bound", {}, NO),
        ("answer_bound", {"answers": {"low": 0.3}}, OPEN),
        ("answer_bound", {"specificity": {"across_high": 0.65}}, OPEN),
        ("answer_bound", {"answers": {"low": 0.1, "high": 0.3}}, YES),
        ("answer_bound", {"answers": {"kind": "view"}}, None),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_its_interval(claim, changes, expected):
    assert judged(claim, **changes) == expected


def test_reasons_hold_the_numbers():
    rows = {row["claim"]: row["because"] for row in verdict(tables(), Thresholds())}
    assert "-2.00 [-2.50, -1.50] nats" in rows["relevant"]
    assert "rank 1 of 4, no p" in rows["relevant"]
    assert "times 1.10" in rows["damaging"] and "(1 draw)" in rows["damaging"]
    changes = {"random_draws": 99, "random_d_margin_p_holm": 0.04}
    claimed = verdict(tables(erasure=changes), Thresholds())
    assert any("p = 0.040, Holm" in row["because"] for row in claimed)


def rows_of(*verdicts, claim="cohesive"):
    return [
        ONE | {"capability": f"c{i}", "claim": claim, "verdict": word}
        for i, word in enumerate(verdicts)
    ]


def test_sentences_count_where_capabilities_differ():
    told = summary(rows_of(YES, YES, claim="cohesive") + rows_of(NO, NO, claim="separable")
                   + rows_of(YES, OPEN, claim="relevant"), [], preset="full")  # fmt: skip
    assert told == [
        "Raw sets (the papers' rule): cohesive, causally relevant in 1 of 2 (undecided: c1), "
        "not separable."
    ]


def test_a_floor_and_a_small_size_are_said():
    base = [{"capability": "div", "near_floor": True}, {"capability": "mul", "near_floor": False}]
    told = summary(rows_of(OPEN), base, preset="demo")
    assert "undecided at this size whether cohesive" in told[0]
    assert told[1].startswith("Base accuracy on div is not above")
    assert "demo preset" in told[2]
