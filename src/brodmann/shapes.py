"""The axis letters used in every shape, and the jaxtyping aliases that spell them.

=======  ==================================================================
letter   axis
=======  ==================================================================
``B``    sequences in a batch
``T``    tokens of a padded batch
``P``    selected (sequence, token) positions of a batch
``L``    layers
``N``    neurons of the widest MLP (narrower layers are padded)
``n``    neurons of one layer
``D``    model width (the residual stream)
``V``    vocabulary
``E``    experts of a mixture-of-experts MLP
``K``    blocks of samples that a score keeps apart
``G``    groups of examples
=======  ==================================================================
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

LayerNeuron = Float[Tensor, "L N"]
"""One number for each neuron of a model: scores, variances."""

LayerNeuronMask = Bool[Tensor, "L N"]
"""One truth value for each neuron of a model."""

LayerCounts = Int[Tensor, "L"]
"""A number of neurons for each layer."""

BlockScores = Float[Tensor, "K L N"]
"""Scores of each block of samples."""
