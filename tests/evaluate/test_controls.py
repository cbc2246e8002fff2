import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brodmann.errors import InputError
from brodmann.evaluate.controls import NORM_BINS, random_sets
from brodmann.neurons import NeuronSet

LAYERS, NEURONS = 4, 60


def some_set(seed=0, sizes=(5, 0, 12, 3), real=None, provenance=None):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
    for layer, size in enumerate(sizes):
        width = NEURONS if real is None else int(real[layer].sum())
        mask[layer, torch.randperm(width, generator=generator)[:size]] = True
    return NeuronSet.from_mask(mask, real, provenance)


def ragged():
    return torch.arange(NEURONS)[None, :] < torch.tensor([60, 30, 40, 20])[:, None]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=LAYERS, max_size=LAYERS).filter(any),
    st.sampled_from(["layer", "activation", "none"]),
    st.integers(0, 5),
)
def test_sizes_layers_and_disjointness(sizes, match, seed):
    real = ragged()
    sizes = [min(size, int(width) // 2) for size, width in zip(sizes, real.sum(1), strict=True)]
    chosen = some_set(seed, sizes, real)
    norms = torch.rand(LAYERS, NEURONS)
    for drawn in random_sets(chosen, 3, match, seed=seed, norms=norms):
        assert len(drawn) == len(chosen)
        assert not (drawn.mask & chosen.mask).any() and not (drawn.mask & ~real).any()
        if match != "none":
            assert drawn.counts.tolist() == chosen.counts.tolist()


def test_draws_differ_and_are_seeded_one_by_one():
    chosen = some_set(provenance={"fingerprint": "f", "model": "m"})
    sets = random_sets(chosen, 20, seed=3)
    assert len({hash(drawn) for drawn in sets}) == 20
    assert random_sets(chosen, 5, seed=3) == sets[:5]
    assert random_sets(chosen, 5, seed=4) != sets[:5]
    assert sets[7].provenance == {
        "fingerprint": "f", "model": "m", "method": "random", "match": "layer", "seed": 3, "draw": 7
    }  # fmt: skip


def test_every_other_neuron_is_as_likely():
    chosen = some_set(sizes=(10, 0, 0, 0))
    counts = sum(drawn.mask.int() for drawn in random_sets(chosen, 2000))[0]
    others = counts[~chosen.mask[0]].double()
    assert others.mean().item() == pytest.approx(400)
    assert others.std().item() < 1.5 * (2000 * 0.2 * 0.8) ** 0.5


def test_avoided_neurons_are_never_drawn():
    chosen, avoid = some_set(0), some_set(9, (30, 30, 30, 30))
    for match in ("layer", "none"):
        for drawn in random_sets(chosen, 10, match, avoid=avoid):
            assert not (drawn.mask & avoid.mask).any() and len(drawn) == len(chosen)


def bin_counts(neurons, norms):
    counts = []
    for layer in range(LAYERS):
        rank = norms[layer].argsort().argsort()
        bins = rank * NORM_BINS // NEURONS
        counts.append(torch.bincount(bins[neurons.mask[layer]], minlength=NORM_BINS).tolist())
    return counts


def test_activation_matched_sets_have_the_same_bins():
    norms = torch.rand(LAYERS, NEURONS, generator=torch.Generator().manual_seed(0))
    chosen = some_set(1, (6, 0, 8, 2))
    for drawn in random_sets(chosen, 10, "activation", norms=norms):
        assert bin_counts(drawn, norms) == bin_counts(chosen, norms)


def test_a_bin_that_is_used_up_borrows_from_the_nearest():
    norms = torch.arange(NEURONS).float().expand(LAYERS, -1)
    mask = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
    mask[0, 54:60] = True  # the whole top tenth
    for drawn in random_sets(NeuronSet.from_mask(mask), 5, "activation", norms=norms):
        assert drawn.indices(0).tolist() == list(range(48, 54))


def test_more_than_half_of_a_layer_is_drawn_from_the_whole_layer():
    chosen = some_set(sizes=(40, 0, 0, 0))
    drawn = random_sets(chosen, 3)
    assert all(len(one) == 40 for one in drawn) and len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"match": "layers"}, "match layer, activation, none; got 'layers'"),
        ({"match": "activation"}, "Expected norms"),
        ({"match": "activation", "norms": torch.ones(2, 3)}, "Expected norms"),
        ({"avoid": some_set(0, (0, 0, 55, 0))}, "12 neurons to draw from in layer 2; it has 5"),
        ({"n_draws": -1}, "0 or more draws"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(InputError, match=message):
        random_sets(some_set(), **({"n_draws": 2} | kwargs))


def test_the_empty_set_and_no_draws():
    empty = some_set(sizes=(0, 0, 0, 0))
    assert random_sets(some_set(), 0) == []
    assert [len(drawn) for drawn in random_sets(empty, 2)] == [0, 0]
