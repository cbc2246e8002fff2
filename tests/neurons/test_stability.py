import math

import pytest
import torch

from brodmann.errors import InputError
from brodmann.neurons import NeuronScores, convergence, iou, overlap, overlap_interval
from tests.neurons.build import random_scores, scores_of


def planted(seed, strength=8.0, n_samples=64, n_planted=10):
    samples = torch.randn(n_samples, 4, 100, generator=torch.Generator().manual_seed(seed))
    samples[:, 2, :n_planted] += strength
    return scores_of(samples)


def top10(scores):
    return scores.top(10)


class TestOverlapInterval:
    def test_a_clear_set_has_a_tight_interval(self):
        assert overlap_interval(planted(0), planted(1), top10, draws=20) == (1.0, 1.0)

    def test_a_weak_set_has_a_wide_one_that_its_seed_decides(self):
        a, b = planted(0, 0.5), planted(1, 0.5)
        low, high = overlap_interval(a, b, top10, draws=60)
        assert 0 < low < high < 1
        assert overlap_interval(a, b, top10, draws=60) == (low, high)
        assert overlap_interval(a, b, top10, draws=60, seed=1) != (low, high)
        narrow = overlap_interval(a, b, top10, draws=60, level=0.5)
        assert low <= narrow[0] <= narrow[1] <= high
        assert overlap_interval(a, b, top10, draws=60, measure=iou)[0] < low

    def test_ends_are_the_percentiles_of_the_draws(self):
        values = iter(range(101))
        found = overlap_interval(
            planted(0), planted(1), top10, draws=101, measure=lambda a, b: float(next(values))
        )
        assert found == pytest.approx((2.5, 97.5))

    def test_empty_sets_have_none(self):
        a = planted(0, 0.0)
        low, high = overlap_interval(a, a, lambda scores: scores.top(0), draws=3)
        assert math.isnan(low) and math.isnan(high)

    def test_one_block_cannot_be_resampled(self):
        with pytest.raises(InputError, match="two filled blocks"):
            overlap_interval(random_scores(0, (1, 2, 9)), random_scores(1), top10)


class TestConvergence:
    def test_more_samples_settle_the_set(self):
        scores = planted(0, 0.7, n_samples=100)
        rows = convergence(scores, top10)
        assert [row["blocks"] for row in rows] == list(range(1, 9))
        assert rows[-1]["samples"] == 100 and rows[0]["samples"] == 13
        assert rows[-1]["overlap_with_final"] == 1
        assert rows[0]["overlap_with_final"] < 0.9
        assert rows[0]["overlap_of_halves"] is None
        halves = overlap(scores.half(0).top(10), scores.half(1).top(10))
        assert rows[-1]["overlap_of_halves"] == halves

    def test_default_rule_and_empty_blocks(self):
        rows = convergence(random_scores(0, (3, 2, 50)))
        assert [row["samples"] for row in rows] == [1, 2, 3]

    def test_scores_without_blocks_are_refused(self):
        contrast = random_scores(0).contrast([random_scores(1, n_blocks=3)])
        with pytest.raises(InputError, match="have none"):
            convergence(contrast, NeuronScores.top)
