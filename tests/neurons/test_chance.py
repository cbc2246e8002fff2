import math
import time
from itertools import combinations

import numpy as np
import pytest
import torch

from brodmann.neurons import NeuronSet, chance, iou, layer_matched_chance, max_ratio, overlap
from tests.neurons.build import ragged


def random_set(generator, counts, real):
    """A random set with the given number of neurons of each layer."""
    mask = torch.zeros_like(real)
    for layer, count in enumerate(counts):
        width = int(real[layer].sum())
        mask[layer, torch.from_numpy(generator.permutation(width)[:count])] = True
    return NeuronSet(mask, real)


def anywhere(generator, size, real):
    places = real.flatten().nonzero()[:, 0]
    mask = torch.zeros(real.numel(), dtype=torch.bool)
    mask[places[torch.from_numpy(generator.permutation(len(places))[:size])]] = True
    return NeuronSet(mask.reshape(real.shape), real)


def check_against(found, observed, draws):
    """Compare with drawn pairs of sets, to five standard errors."""
    for name, measure in (
        ("intersection", lambda a, b: len(a & b)),
        ("overlap", overlap),
        ("iou", iou),
        ("max_ratio", max_ratio),
    ):
        values = np.array([measure(a, b) for a, b in draws])
        error = values.std() / math.sqrt(len(values)) + 1e-12
        assert abs(getattr(found, name) - values.mean()) < 5 * error, name
    at_least = np.mean([len(a & b) >= observed for a, b in draws])
    assert abs(found.p_value - at_least) < 5 * math.sqrt(0.25 / len(draws))


def test_chance_agrees_with_random_sets():
    generator, real = np.random.default_rng(0), ragged(3, 12)
    a, b = anywhere(generator, 9, real), anywhere(generator, 14, real)
    draws = [(anywhere(generator, 9, real), anywhere(generator, 14, real)) for _ in range(600)]
    check_against(chance(a, b), len(a & b), draws)


def test_layer_matched_chance_agrees_with_random_sets():
    generator, real = np.random.default_rng(0), ragged(3, 12)
    one, two = (1, 0, 9), (3, 4, 7)
    a, b = random_set(generator, one, real), random_set(generator, two, real)
    draws = [
        (random_set(generator, one, real), random_set(generator, two, real)) for _ in range(600)
    ]
    found = layer_matched_chance(a, b)
    check_against(found, len(a & b), draws)
    assert found.intersection == pytest.approx(1 * 3 / 12 + 9 * 7 / 10)
    assert found.intersection > chance(a, b).intersection


def test_p_value_counts_every_pair_of_small_sets():
    b = NeuronSet.from_pairs([(0, 0), (0, 1), (0, 2)], 1, 6)
    subsets = [NeuronSet.from_pairs([(0, i) for i in c], 1, 6) for c in combinations(range(6), 2)]
    for a in subsets:
        share = np.mean([len(other & b) >= len(a & b) for other in subsets])
        assert chance(a, b).p_value == pytest.approx(share)
        assert layer_matched_chance(a, b).p_value == pytest.approx(share)


def test_crowded_layers_are_told_from_shared_neurons():
    """Sets that fill one layer overlap by chance; only the layer-matched level knows."""
    generator, real = np.random.default_rng(1), torch.ones(10, 100, dtype=torch.bool)
    counts = [0] * 9 + [60]
    a, b = random_set(generator, counts, real), random_set(generator, counts, real)
    assert chance(a, b).p_value < 1e-20
    assert layer_matched_chance(a, b).p_value > 0.01


def test_empty_and_full_sets():
    real = torch.ones(2, 5, dtype=torch.bool)
    none, every = NeuronSet(torch.zeros_like(real)), NeuronSet(real)
    for level in (chance, layer_matched_chance):
        found = level(none, none)
        assert math.isnan(found.overlap) and math.isnan(found.iou) and math.isnan(found.max_ratio)
        assert (found.intersection, found.p_value) == (0, 1)
        assert (level(none, every).overlap, level(none, every).p_value) == (0, 1)
        assert (level(every, every).overlap, level(every, every).p_value) == (1, 1)


def test_large_models_are_quick_and_tiny_p_values_are_not_zero():
    real = torch.ones(32, 14336, dtype=torch.bool)
    mask = torch.rand(32, 14336, generator=torch.Generator().manual_seed(0)) < 0.5
    a = NeuronSet(mask)
    start = time.perf_counter()
    found = layer_matched_chance(a, a)
    assert time.perf_counter() - start < 20  # seconds: a plain convolution takes minutes
    assert 0 < found.p_value <= 1e-60
    assert found.iou == pytest.approx(1 / 3, abs=0.01)
    assert chance(a, NeuronSet(real)).p_value == pytest.approx(1)
