"""Refuse a set of neurons that belongs to another model."""

from brodmann.errors import MismatchError
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet


def check_neurons(model: LanguageModel, neurons: NeuronSet, *, force: bool) -> None:
    """Check fingerprint and shape; ``force`` waives the fingerprint, never the shape.

    Raises:
        MismatchError: the set was located on another model, or does not fit this one.
    """
    if neurons.mask.shape != model.real.shape:
        raise MismatchError(
            f"Expected a set of {model.n_layers} layers x {model.n_neurons} neurons for "
            f"'{model.name}'; got {' x '.join(str(size) for size in neurons.mask.shape)}."
        )
    if bool((neurons.mask & ~model.real).any()):
        raise MismatchError(
            f"The set names neurons that '{model.name}' does not have in its narrower layers."
        )
    neurons.check_belongs(model.fingerprint, model.name, force=force)
