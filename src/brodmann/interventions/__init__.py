"""Turn neurons down or up: as a context manager, or baked into weights."""

from brodmann.interventions.bake import bake
from brodmann.interventions.context import erased, mean_ablated, scaled
from brodmann.interventions.reference import ReferenceActivations, reference_activations

__all__ = [
    "ReferenceActivations",
    "bake",
    "erased",
    "mean_ablated",
    "reference_activations",
    "scaled",
]
