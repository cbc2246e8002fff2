"""The parts of a map: data, halves, resampling, names."""

import warnings

import numpy as np
import pytest
import torch

from brodmann.experiments import preset
from brodmann.experiments.map_data import is_family, key_of, load_data
from brodmann.experiments.map_locate import interleaved
from brodmann.experiments.map_resample import (
    max_ratios,
    resampled_sets,
    shifted_interval,
    std_masks,
)
from brodmann.experiments.map_sets import file_names
from brodmann.neurons import NeuronScores, sigma_mask
from tests.experiments.maps import small_config


def scores_of(samples):
    """Scores of samples [S, L, N], in blocks as localisation makes them."""
    samples = samples.double()
    sums, counts = torch.zeros(16, *samples.shape[1:], dtype=torch.float64), torch.zeros(16).long()
    for index, sample in enumerate(samples):
        sums[index % 16] += sample
        counts[index % 16] += 1
    real = torch.ones(samples.shape[1:], dtype=torch.bool)
    return NeuronScores.from_sums(
        sums, counts, (samples**2).sum(0), real, dtype=torch.float64,
        provenance={"model": "m", "fingerprint": "f"},
    )  # fmt: skip


def test_two_samples_together_are_the_scores_of_all():
    drawn = torch.randn(40, 2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = scores_of(drawn[:15]), scores_of(drawn[15:])
    both = interleaved(first, second, {})
    assert both.n_samples == 40
    torch.testing.assert_close(both.values, drawn.mean(0))
    torch.testing.assert_close(both.variance, drawn.var(0))
    torch.testing.assert_close(both.half(0).values, first.values)
    torch.testing.assert_close(both.half(1).values, second.values)


def test_resampled_sets_follow_the_blocks():
    samples = torch.randn(32, 2, 400, generator=torch.Generator().manual_seed(1)) * 0.01
    samples[:, 0, 3] += 5  # in every block
    samples[0, 1, 7] += 400  # in one block only, of the first half
    config = preset("demo", resamples=30)
    both = {"a": interleaved(scores_of(samples[:16]), scores_of(samples[16:]), {})}
    both["b"] = interleaved(scores_of(-samples[:16]), scores_of(-samples[16:]), {})
    found = resampled_sets(both, config)
    first, second = found["raw", "a", "half 0"], found["raw", "a", "half 1"]
    always, once = 3, 400 + 7
    assert len(first) == 30
    assert all(always in draw for draw in second)
    # A block of 16 is missing from a resample with probability (15/16)^16, about 0.36.
    assert 9 < sum(once in draw for draw in first) < 29
    assert not any(once in draw for draw in second)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
def test_many_draws_are_selected_as_one(scope, sign):
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(5, 4, 90, generator=generator, dtype=torch.float64) ** 3
    values[:, 2] = 7.0  # a layer without differences
    real = torch.arange(90) < torch.tensor([90, 80, 90, 9])[:, None]
    found = std_masks(values, real, 2.0, scope, sign)
    for draw, mask in zip(values, found, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = sigma_mask(draw, real, sigma=2.0, scope=scope, sign=sign)
        assert torch.equal(mask, expected)
    assert found.any() and not found[:, 3, 9:].any()


def test_max_ratios_of_draws():
    found = max_ratios([frozenset({1, 2}), frozenset()], [frozenset({1}), frozenset()])
    assert found[0] == 0.5 and np.isnan(found[1])


def test_the_interval_holds_the_estimate_and_has_the_draws_spread():
    draws = np.linspace(0.2, 0.4, 101).tolist()
    low, high = shifted_interval(0.6, draws)
    assert low == pytest.approx(0.505) and high == pytest.approx(0.695)
    assert shifted_interval(0.95, draws)[1] == 1.0
    assert shifted_interval(float("nan"), draws) == (None, None)
    assert shifted_interval(0.5, [float("nan")]) == (None, None)


def test_arithmetic_halves_and_items_share_no_expression():
    data = load_data(preset("demo", examples=32, answers=("free",)))
    assert [variant.how for variant in data.variants] == ["expressions"]
    for name, (first, second) in data.variants[0].halves.items():
        keys = [{key_of(e) for e in rows} for rows in (first, second, data.tests[name])]
        assert len(first) == len(second) == 32
        assert keys[0].isdisjoint(keys[1])
        assert keys[2].isdisjoint(keys[0] | keys[1])
    assert [row["seen_in_localisation"] for row in data.test_rows] == [0, 0, 0, 0]


def test_a_range_too_small_for_halves_says_so():
    small = {"template": "plain", "shots": 4, "max": 9, "repeat": True}
    data = load_data(preset("demo", data=small, examples=32))
    matched = data.variants[1]
    assert matched.name == "matched" and matched.how == "contexts"
    for first, second in matched.halves.values():
        assert {e.prompt for e in first}.isdisjoint(e.prompt for e in second)
    answers = [sorted(e.answer for h in halves for e in h) for halves in matched.halves.values()]
    assert all(other == answers[0] for other in answers)


def test_the_users_own_capabilities(tmp_path):
    data = load_data(small_config(tmp_path, examples=500, fewest=4))
    (variant,) = data.variants
    assert variant.name == "free" and list(variant.halves) == ["seven", "kay"]
    for first, second in variant.halves.values():
        assert {e.prompt for e in first}.isdisjoint(e.prompt for e in second)
        assert 10 < len(first) < 40, "all there are, where fewer than asked for"


def test_families_are_told_from_the_users_own():
    assert is_family("arithmetic") and is_family("arithmetic:max=20")
    assert not is_family("math=a.jsonl,language=b.jsonl")


def test_names_of_files_are_safe_and_differ():
    names = file_names(["add", "a b", "a/b", "..", "数学"])
    assert names == {"add": "add", "a b": "a_b", "a/b": "a_b-2", "..": "capability", "数学": "数学"}
