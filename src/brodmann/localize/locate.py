"""`locate`: run a localisation method by its name."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from brodmann.data import Example
from brodmann.errors import InputError
from brodmann.localize.cnl import cnl
from brodmann.localize.dcsn import dcsn
from brodmann.localize.knowledge_neurons import kn, knowledge_neurons
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
        InputError: an option that the method does not have.
        DataError: examples that cannot be used.
    """
    check_options(method, options)
    return METHODS.get(method)(model, {"examples": examples}, **options)["examples"]


def check_options(method: str, names: Iterable[str]) -> None:
    """Refuse options that a method does not have.

    Raises:
        UnknownNameError: no such method.
        InputError: naming the option and those that the method has.
    """
    function = METHODS.get(method)
    signature = inspect.signature(knowledge_neurons if function is kn else function)
    known = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in names:
        if name not in known:
            raise InputError(
                f"Expected options of method '{method}' ({', '.join(known)}); got '{name}'. "
                "Leave it out, or choose another method."
            )
