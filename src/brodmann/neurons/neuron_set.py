"""`NeuronSet`: an immutable set of neurons of one model, with its algebra."""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from brodmann.errors import InputError
from brodmann.neurons.provenance import (
    Provenance,
    check_made_on,
    check_same_model,
    check_same_neurons,
    combined,
    describe,
)
from brodmann.neurons.select import strongest_mask
from brodmann.neurons.set_files import read_set, write_set
from brodmann.neurons.svg import bars, strip_svg
from brodmann.shapes import LayerCounts, LayerNeuron, LayerNeuronMask
from brodmann.storage import new_folder


@runtime_checkable
class Scored(Protocol):
    """Signed scores of a model's neurons, such as :class:`brodmann.NeuronScores`."""

    @property
    def values(self) -> LayerNeuron:
        """One score for each neuron."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Where the scores come from."""
        ...


class NeuronSet:
    """An immutable set of MLP neurons of one model.

    ``a | b``, ``a & b``, ``a - b``, ``a ^ b``, ``a.complement()``, ``len(a)``, ``(3, 17) in a`` and
    ``for layer, neuron in a`` work as for Python's sets. Two sets are equal when they hold the same
    neurons of the same model; how they were made does not count.

    Made by :meth:`from_mask`, :meth:`from_pairs`, :meth:`load`, or ``NeuronScores.select``.
    """

    __slots__ = ("_mask", "_provenance", "_real")

    def __init__(
        self,
        mask: LayerNeuronMask,
        real: LayerNeuronMask | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        real = torch.ones_like(mask) if real is None else real
        if real.shape != mask.shape or bool((mask & ~real).any()):
            raise InputError("Expected a mask over the neurons that exist; it selects others too.")
        self._mask = mask.detach().cpu().clone()
        self._real = real.detach().cpu().clone()
        self._provenance = copy.deepcopy(dict(provenance or {}))

    @classmethod
    def from_mask(
        cls,
        mask: LayerNeuronMask,
        real: LayerNeuronMask | None = None,
        provenance: Provenance | None = None,
    ) -> "NeuronSet":
        """Make a set of the neurons where ``mask`` is true.

        Args:
            mask: which neurons.
            real: which neurons exist, where layers are padded to the widest; all by default.
            provenance: where the set comes from, in JSON types. "fingerprint" ties it to a model.

        Raises:
            InputError: when the mask selects padding.
        """
        return cls(mask, real, provenance)

    @classmethod
    def from_pairs(
        cls,
        pairs: Iterable[tuple[int, int]],
        n_layers: int,
        n_neurons: int,
        *,
        real: LayerNeuronMask | None = None,
        provenance: Provenance | None = None,
    ) -> "NeuronSet":
        """Make a set of (layer, neuron) pairs of a model of ``n_layers`` by ``n_neurons``.

        Raises:
            InputError: when a pair is out of range; the message says the range.
        """
        mask = torch.zeros(n_layers, n_neurons, dtype=torch.bool)
        widths = [n_neurons] * n_layers if real is None else real.sum(1).tolist()
        for layer, neuron in pairs:
            if not 0 <= layer < n_layers:
                raise InputError(f"Expected a layer from 0 to {n_layers - 1}; got {layer}.")
            if not 0 <= neuron < widths[layer]:
                raise InputError(
                    f"Expected a neuron from 0 to {widths[layer] - 1} in layer {layer}; "
                    f"got {neuron}."
                )
            mask[layer, neuron] = True
        return cls(mask, real, provenance)

    @property
    def mask(self) -> LayerNeuronMask:
        """True for the neurons of the set (a copy)."""
        return self._mask.clone()

    @property
    def real(self) -> LayerNeuronMask:
        """True for the neurons that exist (a copy); the rest is padding of narrower layers."""
        return self._real.clone()

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the set comes from (a copy)."""
        return copy.deepcopy(self._provenance)

    @property
    def n_layers(self) -> int:
        """Layers of the model (L)."""
        return self._mask.shape[0]

    @property
    def counts(self) -> LayerCounts:
        """How many neurons of each layer are in the set."""
        return self._mask.sum(1)

    @property
    def share(self) -> float:
        """The set's fraction of the model's MLP neurons, from 0 to 1 (CNL Eq. 9, "neuron")."""
        return len(self) / int(self._real.sum())

    def parameter_share(
        self, parameters_per_neuron: int | Sequence[int], total_parameters: int
    ) -> float:
        """Return the set's fraction of a model's parameters, from 0 to 1.

        Args:
            parameters_per_neuron: the weights that are a neuron's own (3 D in a gated MLP without
                biases: a row of gate, a row of up, a column of down), or one number per layer.
            total_parameters: of the whole model.
        """
        if isinstance(parameters_per_neuron, int):
            return len(self) * parameters_per_neuron / total_parameters
        own = zip(self.counts.tolist(), parameters_per_neuron, strict=True)
        return sum(count * size for count, size in own) / total_parameters

    def indices(self, layer: int) -> Int[Tensor, "k"]:
        """Return the set's neurons in one layer, ascending.

        Raises:
            InputError: when there is no such layer.
        """
        if not 0 <= layer < self.n_layers:
            raise InputError(f"Expected a layer from 0 to {self.n_layers - 1}; got {layer}.")
        return self._mask[layer].nonzero()[:, 0]

    def strongest(self, scores: Scored, fraction: int | float) -> "NeuronSet":
        """Return the given fraction of the set: its neurons with the largest ``|score|``.

        Raises:
            MismatchError: when the scores are another model's.
            InputError: when the fraction is not in (0, 1].
        """
        check_same_model(self._provenance, scores.provenance, "scores and set")
        if scores.values.shape != self._mask.shape:
            check_same_neurons(self._mask, scores.values, "scores and set")
        mask = strongest_mask(scores.values, self._mask, fraction)
        return type(self)(
            mask, self._real, combined(f"strongest {fraction:g} of", self._provenance)
        )

    def complement(self) -> "NeuronSet":
        """Return all neurons of the model that are not in the set."""
        return type(self)(self._real & ~self._mask, self._real, combined("not", self._provenance))

    def difference(self, other: "NeuronSet") -> "NeuronSet":
        """Return the neurons that are in this set and not in the other: ``self - other``."""
        return self._combined("-", other, self._mask & ~other._mask_like(self))

    def __or__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined("|", other, self._mask | other._mask_like(self))

    def __and__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined("&", other, self._mask & other._mask_like(self))

    def __sub__(self, other: "NeuronSet") -> "NeuronSet":
        return self.difference(other)

    def __xor__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined("^", other, self._mask ^ other._mask_like(self))

    def _mask_like(self, other: "NeuronSet") -> LayerNeuronMask:
        check_same_model(other._provenance, self._provenance, "sets")
        check_same_neurons(other._real, self._real, "sets")
        return self._mask

    def _combined(self, operation: str, other: "NeuronSet", mask: LayerNeuronMask) -> "NeuronSet":
        provenance = combined(operation, self._provenance, other._provenance)
        return type(self)(mask, self._real, provenance)

    def __len__(self) -> int:
        return int(self._mask.sum())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(layer, neuron) for layer, neuron in self._mask.nonzero().tolist()])

    def __contains__(self, pair: object) -> bool:
        if not isinstance(pair, tuple) or len(pair) != 2:
            return False
        if not all(isinstance(index, Integral) for index in pair):
            return False
        layer, neuron = int(pair[0]), int(pair[1])
        inside = 0 <= layer < self._mask.shape[0] and 0 <= neuron < self._mask.shape[1]
        return inside and bool(self._mask[layer, neuron])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NeuronSet) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        fingerprint = self._provenance.get("fingerprint")
        tensors = (tensor.numpy().tobytes() for tensor in (self._mask, self._real))
        return (fingerprint, tuple(self._mask.shape), *tensors)

    def check_belongs(self, fingerprint: str, name: str, force: bool = False) -> None:
        """Refuse a set that was located on another model; one without fingerprint makes no claim.

        Args:
            fingerprint: the model's.
            name: the model's, for the message.
            force: accept it all the same.

        Raises:
            MismatchError: when the fingerprints differ.
        """
        if not force:
            remedy = "Locate them on this model, or force it."
            check_made_on(fingerprint, name, self._provenance, "neurons", remedy)

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Save the set as a new folder of ``set.safetensors`` and ``set.json``.

        Raises:
            InputError: when the folder exists and ``overwrite`` is off.
        """
        with new_folder(folder, overwrite) as new:
            self.write_into(new)

    def write_into(self, folder: str | os.PathLike[str]) -> None:
        """Write the set's two files into a folder that exists and may hold others."""
        write_set(Path(folder), self._mask, self._real, self._provenance)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "NeuronSet":
        """Load a set from a folder that :meth:`save` or ``brodmann locate`` made.

        Raises:
            InputError: when the folder is missing, corrupt, or holds something else.
        """
        return cls(*read_set(Path(folder)))

    def layer_strip(self) -> str:
        """Return one character per layer, from the bottom up, as tall as its count is large."""
        return bars(self.counts.tolist())

    def __repr__(self) -> str:
        counts = sorted(enumerate(self.counts.tolist()), key=lambda item: (-item[1], item[0]))
        top = [f"{layer}: {count}" for layer, count in counts if count]
        told = [f"{len(self):,} of {int(self._real.sum()):,} neurons, {self.share:.2%}"]
        told += [f"layer {', '.join(top[:3])}{', …' if len(top) > 3 else ''}"] if top else []
        told += [line] if (line := describe(self._provenance)) else []
        return f"NeuronSet({'; '.join(told)})"

    def __str__(self) -> str:
        return f"{self!r}\nlayers 0–{self.n_layers - 1} {self.layer_strip()}"

    def _repr_html_(self) -> str:
        title = f"{len(self):,} of {int(self._real.sum()):,} neurons ({self.share:.2%})"
        return strip_svg(self.counts.tolist(), title, describe(self._provenance))
