"""Provenance of scores and sets: whether two belong together, and the one line that tells it."""

from collections.abc import Mapping
from typing import Any

import torch

from brodmann.errors import MismatchError
from brodmann.shapes import LayerNeuronMask

Provenance = Mapping[str, Any]
"""Where a value comes from, in JSON types: model, fingerprint, method, data, rule, ..."""


def check_same_model(a: Provenance, b: Provenance, what: str) -> None:
    """Refuse to combine values of different models; a value without fingerprint makes no claim.

    Raises:
        MismatchError: when both fingerprints are known and differ.
    """
    first, second = a.get("fingerprint"), b.get("fingerprint")
    if first is not None and second is not None and first != second:
        raise MismatchError(
            f"Expected {what} of one model; got {_model(a)} and {_model(b)}. "
            "Locate both on the same model."
        )


def check_made_on(fingerprint: str, name: str, given: Provenance, what: str, remedy: str) -> None:
    """Refuse what belongs to another model; a value without fingerprint makes no claim.

    Args:
        fingerprint: the model's.
        name: the model's, for the message.
        given: the provenance of what is to be used on it.
        what: what that is, in words.
        remedy: what to do instead: a sentence.

    Raises:
        MismatchError: when the fingerprints differ.
    """
    own = given.get("fingerprint")
    if own is not None and own != fingerprint:
        raise MismatchError(
            f"Expected {what} of {name} ({fingerprint[:12]}); got {what} of {_model(given)}. "
            f"{remedy}"
        )


def check_same_neurons(a: LayerNeuronMask, b: Any, what: str) -> None:
    """Refuse to combine values over different neurons.

    Raises:
        MismatchError: when the number of layers, or of neurons of a layer, differs.
    """
    if a.shape != b.shape:
        raise MismatchError(
            f"Expected {what} over the same neurons; got {_shape(a)} and {_shape(b)}. "
            "Locate both on the same model."
        )
    if not torch.equal(a, b):
        layer = int((a != b).any(1).nonzero()[0])
        raise MismatchError(
            f"Expected {what} over the same neurons; layer {layer} has {int(a[layer].sum())} and "
            f"{int(b[layer].sum())}. Locate both on the same model."
        )


def describe(provenance: Provenance) -> str:
    """Return one line: model, method, data and rule, as far as they are known."""
    parts = [provenance.get(key) for key in ("model", "method", "data")]
    parts = [_data(part) if isinstance(part, Mapping) else part for part in parts]
    if "operation" in provenance:
        parts.append(_operation(provenance))
    elif isinstance(rule := provenance.get("rule"), Mapping):
        parts.append(" ".join(f"{key}={value}" for key, value in rule.items()))
    elif rule is not None:
        parts.append(rule)
    return " · ".join(str(part) for part in parts if part is not None)


def combined(operation: str, *parts: Provenance) -> dict[str, Any]:
    """Return the provenance of what an operation on sets gives."""
    known = next((part for part in parts if part.get("fingerprint") is not None), parts[0])
    kept = {key: known[key] for key in ("model", "fingerprint") if key in known}
    return kept | {"operation": operation, "parts": [dict(part) for part in parts]}


def _operation(provenance: Provenance) -> str:
    parts = provenance.get("parts", ())
    names = [str(part.get("data") or part.get("operation") or "?") for part in parts]
    symbol = str(provenance["operation"])
    return f"{symbol} {names[0]}" if len(names) == 1 else f" {symbol} ".join(names)


def _data(data: Provenance) -> str:
    return str(data.get("spec", data))


def _model(provenance: Provenance) -> str:
    return f"{provenance.get('model', 'a model')} ({str(provenance['fingerprint'])[:12]})"


def _shape(tensor: Any) -> str:
    return f"{tensor.shape[0]} layers × {tensor.shape[1]} neurons"
