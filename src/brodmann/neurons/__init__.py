"""Neurons as values: scores, sets of neurons, and how alike sets are."""

from brodmann.neurons.chance import Chance, chance, layer_matched_chance
from brodmann.neurons.neuron_set import NeuronSet
from brodmann.neurons.pooling import pooled
from brodmann.neurons.scores import NeuronScores, Rule
from brodmann.neurons.select import (
    RuleCannotFireWarning,
    can_fire,
    sigma_mask,
    strongest_mask,
    top_mask,
)
from brodmann.neurons.similarity import (
    Measure,
    Specificity,
    cohesion,
    coincidence,
    coincidence_core,
    iou,
    max_ratio,
    overlap,
    overlap_matrix,
    separability,
    specificity,
)
from brodmann.neurons.stability import convergence, overlap_interval

__all__ = [
    "Chance",
    "Measure",
    "NeuronScores",
    "NeuronSet",
    "Rule",
    "RuleCannotFireWarning",
    "Specificity",
    "can_fire",
    "chance",
    "cohesion",
    "coincidence",
    "coincidence_core",
    "convergence",
    "iou",
    "layer_matched_chance",
    "max_ratio",
    "overlap",
    "overlap_interval",
    "overlap_matrix",
    "pooled",
    "separability",
    "sigma_mask",
    "specificity",
    "strongest_mask",
    "top_mask",
]
