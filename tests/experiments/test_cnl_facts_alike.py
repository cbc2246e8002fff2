"""Sets compared in pairs: against the measures of the library, and against plain loops."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from brodmann.experiments.cnl.alike import Universe, alike, core_share
from brodmann.experiments.cnl.own_sets import numbers_of, selected
from brodmann.neurons import NeuronSet, coincidence_core, iou, layer_matched_chance, overlap
from brodmann.neurons.similarity import max_ratio
from tests.neurons.build import scores_of

REAL = torch.ones(3, 20, dtype=torch.bool)
REAL[1, 12:] = False
UNIVERSE = Universe(20, (20, 12, 20))
UNITS = (0, 0, 1, 1, 2, 2, 3)


@pytest.fixture(scope="module")
def sets():
    generator = torch.Generator().manual_seed(0)
    masks = [(torch.rand(3, 20, generator=generator) < 0.3) & REAL for _ in UNITS[:-1]]
    return [NeuronSet.from_mask(mask, REAL) for mask in [*masks, torch.zeros_like(REAL)]]


@pytest.mark.parametrize(
    ("measure", "of"), [("overlap", overlap), ("max", max_ratio), ("iou", iou)]
)
def test_every_pair_is_what_the_library_says(sets, measure, of):
    found = alike([numbers_of(one) for one in sets], UNIVERSE, UNITS, measure=measure)
    for a, b in combinations(range(len(sets)), 2):
        assert found.values[a, b] == pytest.approx(of(sets[a], sets[b]), abs=1e-6)
        if measure != "iou":
            level = layer_matched_chance(sets[a], sets[b])
            named = {"overlap": level.overlap, "max": level.max_ratio}[measure]
            assert found.chance[a, b] == pytest.approx(named, abs=1e-6)
    assert math.isnan(found.values[-1, -1])  # two empty sets


def test_a_rate_is_the_mean_over_pairs_and_draws_units(sets):
    found = alike([numbers_of(one) for one in sets], UNIVERSE, UNITS, seed=3)
    unit = np.asarray(UNITS)
    for which in (unit[:, None] == unit, unit[:, None] != unit):
        pairs = [(a, b) for a, b in combinations(range(7), 2) if which[a, b]]
        rate = found.rate(which)
        assert rate.value == pytest.approx(np.mean([found.values[pair] for pair in pairs]))
        assert (rate.pairs, rate.units) == (len(pairs), 3 if which[0, 1] else 4)
        times = np.random.default_rng(3).multinomial(4, [0.25] * 4, size=2000)[:20]
        for drawn, counts in zip(rate.draws, times, strict=False):
            weights = [counts[unit[a]] * (counts[unit[b]] if unit[a] != unit[b] else 1)
                       for a, b in pairs]  # fmt: skip
            if sum(weights):
                expected = np.average([found.values[pair] for pair in pairs], weights=weights)
                assert drawn == pytest.approx(expected)
    low, high = rate.interval
    assert low < rate.value < high


def test_a_difference_is_taken_draw_by_draw(sets):
    found = alike([numbers_of(one) for one in sets], UNIVERSE, UNITS)
    within = np.asarray(UNITS)[:, None] == np.asarray(UNITS)
    a, b = found.rate(within), found.rate(~within)
    assert (a - b).value == a.value - b.value
    assert np.array_equal((a - b).draws, a.draws - b.draws, equal_nan=True)
    assert (a - a).interval == (0, 0)
    nothing = found.rate(np.zeros((7, 7), dtype=bool))
    assert nothing.interval == (None, None) and nothing.cell("b", "r", "c")["value"] is None


def test_the_core_is_what_all_share(sets):
    numbers = [numbers_of(one) for one in sets[:3]]
    assert core_share(numbers) == coincidence_core(sets[:3])
    assert math.isnan(core_share([frozenset()]))


def test_rules_select_as_they_say():
    values = torch.tensor([[[5.0, 0.9, 1.1, -9.0, 0.0]]])
    scores = scores_of(values)
    assert set(selected(scores, {"t": 0.2})) == {(0, 0), (0, 2)}
    assert len(selected(scores_of(-values.abs()), {"t": 0.2})) == 0
    assert selected(scores, {"sigma": 1}) == scores.select(1)
