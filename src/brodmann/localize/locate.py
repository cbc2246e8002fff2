"""`locate`: run a localisation method by its name."""

from collections.abc import Callable, Sequence
from typing import Any

from brodmann.data import Example
from brodmann.localize.cnl import cnl
from brodmann.localize.dcsn import dcsn
from brodmann.localize.knowledge_neurons import kn
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores
from brodmann.registry import Registry

Method = Callable[..., dict[str, NeuronScores]]
"""A method scores several groups of examples in one pass: (model, groups, **options)."""

METHODS: Registry[Method] = Registry("method")
METHODS.add("dcsn", dcsn)
METHODS.add("cnl", cnl)
METHODS.add("kn", kn)


def locate(
    model: LanguageModel, examples: Sequence[Example], method: str = "dcsn", **options: Any
) -> NeuronScores:
    """Score every neuron of a model for what it does on these examples.

    Args:
        model: the model to look into.
        examples: questions and answers of one capability.
        method: ``"dcsn"``, ``"cnl"`` or ``"kn"``.
        **options: the method's own, see :func:`brodmann.localize.dcsn.dcsn`,
            :func:`brodmann.localize.cnl.cnl` and
            :func:`brodmann.localize.knowledge_neurons.knowledge_neurons`.

    Returns:
        Signed scores [L, N] with their variance.

    Raises:
        UnknownNameError: no such method.
        DataError: examples that cannot be used.
    """
    return METHODS.get(method)(model, {"examples": examples}, **options)["examples"]
