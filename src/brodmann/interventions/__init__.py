"""Turn neurons down or up, or write a fact: as a context manager, or baked into weights."""

from brodmann.interventions.bake import bake
from brodmann.interventions.context import erased, mean_ablated, scaled
from brodmann.interventions.edited_facts import bake_edit, fact_edited
from brodmann.interventions.key_covariance import KeyCovariance, key_covariances
from brodmann.interventions.reference import ReferenceActivations, reference_activations
from brodmann.interventions.rome import RomeEdit, rome_edit, rome_edits
from brodmann.interventions.rome_prefixes import sampled_prefixes

__all__ = [
    "KeyCovariance",
    "ReferenceActivations",
    "RomeEdit",
    "bake",
    "bake_edit",
    "erased",
    "fact_edited",
    "key_covariances",
    "mean_ablated",
    "reference_activations",
    "rome_edit",
    "rome_edits",
    "sampled_prefixes",
    "scaled",
]
