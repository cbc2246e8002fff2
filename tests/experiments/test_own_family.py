"""Whose sets change an example's margin more: a slow reference, and sets of unequal strength."""

import itertools

import numpy as np
import pytest

from brodmann.experiments.cells import only
from brodmann.experiments.cnl.own_family import ALL_ROWS, OWN_MORE, Effect, margin_cells

FAMILIES = {"GSM8K": "math", "SVAMP": "math", "Imdb": "language", "MBPP": "program"}
ITEMS = {"GSM8K": 5, "SVAMP": 8, "Imdb": 11, "MBPP": 3}


def effects(own=0.0, strength=None, noise=1.0, seed=0):
    """Effects of every set on every data set; strong sets change everything more."""
    rng = np.random.default_rng(seed)
    strength = strength or dict.fromkeys(FAMILIES, 0.0)
    found = []
    for row, column in itertools.product(FAMILIES, FAMILIES):
        scale = 10.0 ** (len(column) - 4)
        bonus = own if FAMILIES[row] == FAMILIES[column] else 0.0
        values = scale * (strength[row] + bonus + noise * rng.normal(size=ITEMS[column]))
        names = [str(number) for number in range(ITEMS[column])]
        found.append(Effect(row, column, [0.0] * ITEMS[column], values.tolist(), names))
    return found


def slow(found, sign):
    """The mean over ordered pairs of families of the share of comparisons that their own win."""
    shares = []
    for f, g in itertools.permutations(["math", "language", "program"], 2):
        wins = []
        for column in (name for name in FAMILIES if FAMILIES[name] == f):
            for number in range(ITEMS[column]):
                one, other = (
                    [sign * effect.margin[number] for effect in found
                     if effect.column == column and FAMILIES[effect.row] == family]
                    for family in (f, g)
                )  # fmt: skip
                pairs = [(a > b) + (a == b) / 2 for a in one for b in other]
                wins.append(sum(pairs) / len(pairs))
        shares.append(sum(wins) / len(wins))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_the_slow_reference(sign):
    found = effects(own=0.3)
    all_pairs = only(margin_cells("Erase", FAMILIES, found, sign=sign), row=ALL_ROWS)
    assert all_pairs["column"] == OWN_MORE
    assert all_pairs["n"] == sum(ITEMS.values())
    assert all_pairs["low"] < all_pairs["value"] < all_pairs["high"]
    assert all_pairs["value"] == pytest.approx(slow(found, sign))


def test_strong_sets_and_large_margins_are_no_difference():
    strength = {"GSM8K": 3.0, "SVAMP": 2.0, "Imdb": -4.0, "MBPP": 9.0}
    cells = margin_cells("Erase", FAMILIES, effects(strength=strength, noise=0.0), sign=1)
    assert {one["row"]: one["value"] for one in cells} == dict.fromkeys(
        ["math, language", "math, program", "language, program", ALL_ROWS], 0.5
    )


def test_own_effects_are_found_on_every_scale():
    found = effects(own=100.0)
    assert all(one["value"] == 1 for one in margin_cells("Erase", FAMILIES, found, sign=1))
    assert all(one["value"] == 0 for one in margin_cells("Erase", FAMILIES, found, sign=-1))


def test_a_family_without_data_or_without_sets_is_compared_with_none():
    assert margin_cells("Erase", FAMILIES, [], sign=1) == []
    found = [one for one in effects() if "MBPP" not in (one.row, one.column)]
    pairs = [one["row"] for one in margin_cells("Erase", FAMILIES, found, sign=1)]
    assert pairs == ["math, language", ALL_ROWS]
    no_set = [one for one in effects() if one.row != "MBPP"]
    assert [one["row"] for one in margin_cells("Erase", FAMILIES, no_set, sign=1)] == pairs
    no_data = [one for one in effects() if one.column != "MBPP"]
    assert [one["row"] for one in margin_cells("Erase", FAMILIES, no_data, sign=1)] == pairs
