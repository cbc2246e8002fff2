import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brodmann.errors import InputError
from brodmann.evaluate.statistics import (
    bootstrap_interval,
    holm,
    mcnemar_p,
    paired_difference,
    permutation_p,
    sign_flip_p,
    wilson_interval,
)

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counts):
    successes, n = counts
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_edges():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    low, high = wilson_interval(2.5, 5.0)
    assert low < 0.5 < high
    with pytest.raises(InputError, match="got 6"):
        wilson_interval(6, 5)
    with pytest.raises(InputError, match="confidence"):
        wilson_interval(1, 5, confidence=95.0)


def test_bootstrap_is_near_the_normal_interval_and_seeded():
    values = np.random.default_rng(0).normal(3, 2, 400).tolist()
    low, high = bootstrap_interval(values, draws=4000)
    half = 1.96 * np.std(values, ddof=1) / math.sqrt(400)
    assert (low + high) / 2 == pytest.approx(np.mean(values), abs=0.03)
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert bootstrap_interval(values, draws=4000) == (low, high)
    assert bootstrap_interval(values, draws=4000, seed=1) != (low, high)


def test_bootstrap_equals_resampling_by_hand():
    values = [0.0, 1.0, 5.0]
    rng = np.random.default_rng(1)
    means = [rng.choice(values, 3).mean() for _ in range(20_000)]
    slow = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(values, draws=20_000) == pytest.approx(tuple(slow), abs=0.35)


def test_bootstrap_draws_whole_groups():
    values = np.random.default_rng(2).normal(size=50).tolist()
    alone = bootstrap_interval(values, draws=5000)
    tripled = [value for value in values for _ in range(3)]
    groups = [index for index in range(50) for _ in range(3)]
    grouped = bootstrap_interval(tripled, groups=groups, draws=5000)
    assert grouped == pytest.approx(alone, abs=1e-12)
    narrow = bootstrap_interval(tripled, draws=5000)
    assert narrow[1] - narrow[0] < 0.7 * (grouped[1] - grouped[0])


def test_bootstrap_edges():
    assert all(math.isnan(end) for end in bootstrap_interval([]))
    assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0)
    with pytest.raises(InputError, match="group"):
        bootstrap_interval([1.0, 2.0], groups=["a"])


def test_paired_difference():
    before, after = [1.0] * 20 + [0.0] * 20, [0.0] * 15 + [1.0] * 5 + [0.0] * 18 + [1.0] * 2
    result = paired_difference(before, after)
    assert result.mean == pytest.approx(-13 / 40) and result.n == 40
    assert result.interval[0] < result.mean < result.interval[1] < 0
    assert result.p == pytest.approx(stats.binomtest(2, 17).pvalue)
    grouped = paired_difference(before, after, groups=[0] * 20 + [1] * 20)
    assert (grouped.n, grouped.units) == (40, 2)
    assert grouped.p >= 0.45  # two signs agree in half of all flips
    assert paired_difference([0.5], [0.7]).p == 1.0
    with pytest.raises(InputError, match="got 1 before and 2 after"):
        paired_difference([1.0], [1.0, 0.0])


def test_mcnemar():
    assert mcnemar_p([1, 0, 1], [1, 0, 1]) == 1.0
    assert mcnemar_p([1] * 10, [0] * 10) == pytest.approx(2 / 2**10)


@given(st.floats(-5, 5), st.lists(st.floats(-5, 5), min_size=19, max_size=60))
def test_permutation_p_equals_counting_and_stays_in_bounds(effect, random):
    result = permutation_p(effect, random)
    assert 1 / (1 + len(random)) <= result.p <= 1
    assert result.p == (1 + sum(value >= effect for value in random)) / (1 + len(random))
    assert result.rank == 1 + sum(value >= effect for value in random)


def test_few_draws_give_a_rank_only():
    result = permutation_p(2.0, [1.0, 3.0, 2.0])
    assert result.p is None and result.rank == 3 and str(result) == "rank 3 of 4"
    assert permutation_p(2.0, [1.0] * 18).p is None
    assert permutation_p(2.0, [1.0] * 19).p == 0.05
    assert str(permutation_p(2.0, [1.0] * 99)) == "p = 0.01 (99 draws)"


def test_a_failed_draw_is_no_evidence():
    assert permutation_p(2.0, [math.nan] * 19).p == 1.0
    assert permutation_p(math.nan, [1.0] * 19).p == 1.0


def slow_holm(p_values):
    """Smallest level at which Holm's step-down rule rejects, by its definition."""

    def rejected(level, index):
        order = sorted(range(len(p_values)), key=lambda i: p_values[i])
        for place, i in enumerate(order):
            if p_values[i] * (len(p_values) - place) > level:
                return False
            if i == index:
                return True
        return False

    levels = sorted(
        {min(1.0, p * m) for p in p_values for m in range(1, len(p_values) + 1)} | {1.0}
    )
    return [
        min((level for level in levels if rejected(level, i)), default=1.0)
        for i in range(len(p_values))
    ]


@given(P_VALUES)
def test_holm(p_values):
    adjusted = holm(p_values)
    assert adjusted == slow_holm(p_values)
    assert all(a >= p and a <= 1 for a, p in zip(adjusted, p_values, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert all(x[1] <= y[1] for x, y in itertools.pairwise(pairs))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([1.5])


def test_flipped_signs_agree_with_all_flips():
    differences = [1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    flips = [abs(sum(a * b for a, b in zip(signs, differences, strict=True)))
             for signs in itertools.product((-1, 1), repeat=6)]  # fmt: skip
    exact = sum(total >= sum(differences) for total in flips) / len(flips)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p([0.0, 0.0]) == 1.0
    twice = sign_flip_p([*differences, *differences], groups=[*range(6), *range(6)])
    assert twice == pytest.approx(exact, abs=0.01)  # the same examples: no more evidence


def test_the_mean_of_means_is_resampled_as_one():
    """Parts of any size weigh the same, and what is always 1 stays 1."""
    sizes = (12, 32, 12)
    parts = [part for part, size in enumerate(sizes) for _ in range(size)]
    assert bootstrap_interval([1.0] * sum(sizes), parts=parts) == (1.0, 1.0)
    rng = np.random.default_rng(0)
    values = rng.normal(size=sum(sizes)) + 3 * np.asarray(parts)
    found = bootstrap_interval(values.tolist(), parts=parts, draws=5000)
    slow = []
    for _ in range(5000):
        drawn = rng.integers(len(values), size=len(values))
        which = np.asarray(parts)[drawn]
        slow.append(np.mean([values[drawn][which == part].mean() for part in range(3)]))
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.05)
    with pytest.raises(InputError, match="group for each of 2 values"):
        bootstrap_interval([1.0, 2.0], parts=["a"])
