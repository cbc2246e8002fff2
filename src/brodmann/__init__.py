"""brodmann: the map of a language model's capabilities.

It locates the neurons that carry a capability, shows what turning them off and up does against
matched controls, and writes down what the numbers support. The public names below are all that
callers need; they load their module at first use, so ``import brodmann`` is immediate.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from brodmann.tuning.on_import import register_with_peft

if TYPE_CHECKING:
    from brodmann.data import Example, Fact, load_examples, load_facts
    from brodmann.evaluate import (
        Evaluation,
        circuit_recall,
        edit_scores,
        evaluate,
        known_facts,
    )
    from brodmann.interventions import (
        KeyCovariance,
        RomeEdit,
        bake,
        bake_edit,
        erased,
        fact_edited,
        key_covariances,
        mean_ablated,
        rome_edit,
        rome_edits,
        scaled,
    )
    from brodmann.localize import (
        Circuit,
        EdgeScores,
        KnowledgeNeurons,
        UntilStable,
        acdc,
        causal_tracing,
        eap_ig,
        edge_effects,
        knowledge_neurons,
        lape,
        locate,
        sender_means,
    )
    from brodmann.models import LanguageModel, load_model
    from brodmann.neurons import NeuronScores, NeuronSet
    from brodmann.tuning import NeuronTuningConfig, neuron_tuning

__version__ = metadata.version("brodmann")

_HOMES = {
    "Circuit": "localize",
    "EdgeScores": "localize",
    "Evaluation": "evaluate",
    "Example": "data",
    "Fact": "data",
    "KeyCovariance": "interventions",
    "KnowledgeNeurons": "localize",
    "LanguageModel": "models",
    "NeuronScores": "neurons",
    "NeuronSet": "neurons",
    "NeuronTuningConfig": "tuning",
    "RomeEdit": "interventions",
    "UntilStable": "localize",
    "acdc": "localize",
    "bake": "interventions",
    "bake_edit": "interventions",
    "causal_tracing": "localize",
    "circuit_recall": "evaluate",
    "eap_ig": "localize",
    "edge_effects": "localize",
    "edit_scores": "evaluate",
    "erased": "interventions",
    "evaluate": "evaluate",
    "fact_edited": "interventions",
    "key_covariances": "interventions",
    "knowledge_neurons": "localize",
    "known_facts": "evaluate",
    "lape": "localize",
    "load_examples": "data",
    "load_facts": "data",
    "load_model": "models",
    "locate": "localize",
    "mean_ablated": "interventions",
    "neuron_tuning": "tuning",
    "rome_edit": "interventions",
    "rome_edits": "interventions",
    "scaled": "interventions",
    "sender_means": "localize",
}

__all__ = [
    "Circuit",
    "EdgeScores",
    "Evaluation",
    "Example",
    "Fact",
    "KeyCovariance",
    "KnowledgeNeurons",
    "LanguageModel",
    "NeuronScores",
    "NeuronSet",
    "NeuronTuningConfig",
    "RomeEdit",
    "UntilStable",
    "acdc",
    "bake",
    "bake_edit",
    "causal_tracing",
    "circuit_recall",
    "eap_ig",
    "edge_effects",
    "edit_scores",
    "erased",
    "evaluate",
    "fact_edited",
    "key_covariances",
    "knowledge_neurons",
    "known_facts",
    "lape",
    "load_examples",
    "load_facts",
    "load_model",
    "locate",
    "mean_ablated",
    "neuron_tuning",
    "rome_edit",
    "rome_edits",
    "scaled",
    "sender_means",
]


def __getattr__(name: str) -> Any:
    """Import a public name's home and hand the name out."""
    if name not in _HOMES:
        raise AttributeError(f"module 'brodmann' has no attribute '{name}'")
    home = import_module(f"brodmann.{_HOMES[name]}")
    # `evaluate` is a package and the function in it: importing the one has set the attribute, and
    # the package can be called like the function.
    return globals().get(name) or getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_peft()
