"""Small scores and sets for the tests, and what Hypothesis draws them from."""

import torch
from hypothesis import strategies as st

from brodmann.neurons import NeuronScores, NeuronSet

PROVENANCE = {"model": "tiny", "fingerprint": "f" * 64, "method": "dcsn", "data": "arithmetic/add"}
N_BLOCKS = 8


def scores_of(samples, real=None, dtype=torch.float64, n_blocks=N_BLOCKS, provenance=PROVENANCE):
    """Scores from one [L, N] tensor per sample; sample i is in block i mod K."""
    samples = torch.as_tensor(samples, dtype=torch.float64)
    block = torch.arange(len(samples)) % n_blocks
    sums = torch.zeros(n_blocks, *samples.shape[1:], dtype=torch.float64)
    return NeuronScores.from_sums(
        sums.index_add(0, block, samples),
        torch.bincount(block, minlength=n_blocks),
        (samples**2).sum(0),
        torch.ones(samples.shape[1:], dtype=torch.bool) if real is None else real,
        dtype=dtype,
        provenance=provenance,
    )


def random_scores(seed, shape=(40, 3, 50), **options):
    generator = torch.Generator().manual_seed(seed)
    return scores_of(torch.randn(shape, generator=generator, dtype=torch.float64), **options)


def ragged(n_layers, n_neurons):
    """Which neurons exist when layer i is i neurons narrower than the widest."""
    widths = n_neurons - torch.arange(n_layers)
    return torch.arange(n_neurons)[None] < widths[:, None]


@st.composite
def sets(draw, n=1, n_layers=3, n_neurons=7):
    """Sets over one and the same ragged model."""
    real = ragged(n_layers, n_neurons)
    size = n_layers * n_neurons
    masks = [
        torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size))) for _ in range(n)
    ]
    found = [
        NeuronSet(mask.reshape(n_layers, n_neurons) & real, real, PROVENANCE) for mask in masks
    ]
    return found[0] if n == 1 else found
