"""`NeuronScores`: one signed number for each neuron, with its error and where it comes from."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import InputError
from brodmann.neurons.neuron_set import NeuronSet
from brodmann.neurons.provenance import (
    Provenance,
    check_same_model,
    check_same_neurons,
    describe,
)
from brodmann.neurons.select import check_finite, count_of, sigma_mask, top_mask
from brodmann.neurons.svg import map_svg
from brodmann.shapes import BlockScores, LayerNeuron, LayerNeuronMask
from brodmann.storage import new_folder, read_tensors, write_tensors

FILE = "scores.safetensors"
KIND = "brodmann neuron scores 1"
"""What the file says it is; the number is the version of the format."""

_TENSORS = ("values", "variance", "block_means", "block_counts", "real")


@dataclass(frozen=True, eq=False, repr=False)
class NeuronScores:
    """What a localisation method says of each neuron: the mean over samples of a signed score.

    Made by :func:`brodmann.locate`, or from running sums by :meth:`from_sums`. The tensors are the
    scores' own: read them, do not write to them.

    Attributes:
        values: the mean over samples; 0 where no neuron exists. float64 for float64 models.
        variance: of one sample's score, unbiased; NaN where there was one sample only.
        n_samples: how many samples.
        block_means: the mean over each block of samples; no blocks (K = 0) where they are not
            known.
        block_counts: samples of each block.
        real: which neurons exist; narrower layers are padded to the widest.
        provenance: in JSON types; holds "model" and "fingerprint", and method, data, options.
    """

    values: LayerNeuron
    variance: LayerNeuron
    n_samples: int
    block_means: BlockScores
    block_counts: Int[Tensor, "K"]
    real: LayerNeuronMask
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        for key in ("model", "fingerprint"):
            if key not in self.provenance:
                raise InputError(f"Expected provenance that holds '{key}'; got none.")
        if self.n_samples < 1:
            raise InputError("Expected scores of one sample or more; got none.")
        if self.values.shape != self.real.shape:
            raise InputError("Expected as many scores as neurons; their shapes differ.")
        check_finite(self.values, torch.ones_like(self.real))

    @classmethod
    def from_sums(
        cls,
        block_sums: BlockScores,
        block_counts: Int[Tensor, "K"],
        sum_squares: LayerNeuron,
        real: LayerNeuronMask,
        *,
        dtype: torch.dtype,
        provenance: Provenance,
    ) -> "NeuronScores":
        """Make scores of running sums over samples.

        Args:
            block_sums: the sum of the samples' scores in each block, float64.
            block_counts: samples of each block; a block may be empty.
            sum_squares: the sum over all samples of the squared score, float64.
            real: which neurons exist; what the sums say elsewhere is dropped.
            dtype: the model's: float64 is kept, anything else becomes float32.
            provenance: must hold "model" and "fingerprint".

        Raises:
            InputError: when there is no sample, or a score is NaN.
        """
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        real, counts = real.detach().cpu().clone(), block_counts.detach().cpu().clone()
        sums = block_sums.detach().cpu().double().where(real, 0)
        squares = sum_squares.detach().cpu().double().where(real, 0)
        n = int(counts.sum())
        mean = sums.sum(0) / n
        variance = (squares - n * mean**2).clamp_min(0) / (n - 1) if n > 1 else mean * torch.nan
        block_means = sums / counts.clamp_min(1)[:, None, None]
        return cls(
            mean.to(kept), variance.to(kept), n, block_means.to(kept), counts, real,
            dict(provenance),
        )  # fmt: skip

    @property
    def standard_error(self) -> LayerNeuron:
        """Standard error of ``values``, for independent samples."""
        return (self.variance / self.n_samples).sqrt()

    def select(
        self,
        sigma: int | float = 6,
        *,
        dispersion: str = "std",
        scope: str = "global",
        sign: str = "both",
        exclude_last_layers: int = 0,
    ) -> NeuronSet:
        """Select the neurons with ``|C - mean(C)| > sigma * dispersion(C)``.

        See :func:`brodmann.neurons.sigma_mask` for the arguments, errors and warnings.
        """
        rule = {"sigma": sigma, "dispersion": dispersion, "scope": scope, "sign": sign}
        rule["exclude_last_layers"] = exclude_last_layers
        return self._set(sigma_mask(self.values, self.real, **rule), rule)

    def top(
        self, k: int | None = None, fraction: int | float | None = None, sign: str = "both"
    ) -> NeuronSet:
        """Select exactly ``k`` neurons, or a ``fraction`` of all: those with the largest ``|C|``.

        ``sign="positive"`` ranks by C, "negative" by -C. Ties go to the lower (layer, index).

        Raises:
            InputError: when not exactly one of ``k`` and ``fraction`` is given, or out of range.
        """
        if (k is None) == (fraction is None):
            raise InputError(
                "Expected either k or fraction; write top(k=100) or top(fraction=0.01)."
            )
        if k is None:
            assert fraction is not None
            rule = {"top_fraction": fraction, "sign": sign}
            k = count_of(fraction, int(self.real.sum()))
        else:
            rule = {"top": k, "sign": sign}
        return self._set(top_mask(self.values, self.real, k, sign), rule)

    def _set(self, mask: LayerNeuronMask, rule: dict[str, Any]) -> NeuronSet:
        return NeuronSet(mask, self.real, self.provenance | {"rule": rule})

    def contrast(self, others: Sequence["NeuronScores"]) -> "NeuronScores":
        """Return these scores minus the mean of the others': what is specific, not common.

        The variance is such that ``standard_error`` is that of the difference when the samples of
        all scores are independent. Block means are differences of block means; they are dropped
        where the scores have different numbers of blocks, or empty ones.

        Raises:
            InputError: when there are no others.
            MismatchError: when the scores belong to different models.
        """
        if not others:
            raise InputError("Expected one or more other scores to contrast with; got none.")
        for other in others:
            check_same_model(self.provenance, other.provenance, "scores")
            check_same_neurons(self.real, other.real, "scores")
        parts = [self, *others]
        weights = [1.0] + [-1 / len(others)] * len(others)
        error = _weighted([w**2 / p.n_samples for w, p in zip(weights, parts, strict=True)],
                          [part.variance for part in parts])  # fmt: skip
        blocks = {len(part.block_counts) for part in parts}
        keep = len(blocks) == 1 and all(bool((part.block_counts > 0).all()) for part in parts)
        n_blocks = len(self.block_counts) if keep else 0
        block_means = _weighted(weights, [part.block_means[:n_blocks] for part in parts])
        against = [dict(other.provenance) for other in others]
        return type(self)(
            _weighted(weights, [part.values for part in parts]).to(self.values.dtype),
            (error * self.n_samples).to(self.values.dtype),
            self.n_samples,
            block_means.to(self.values.dtype),
            self.block_counts[:n_blocks],
            self.real,
            self.provenance | {"contrast": against},
        )

    def half(self, which: int) -> "NeuronScores":
        """Return the scores of the even (0) or the odd (1) blocks of samples.

        Raises:
            InputError: when that half holds no samples.
        """
        if which not in (0, 1):
            raise InputError(f"Expected half 0 or 1; got {which}.")
        even = (torch.arange(len(self.block_counts)) % 2 == which).long()
        return self.reweighted(even, {"half": which})

    def reweighted(
        self, times: Int[Tensor, "K"], note: dict[str, Any] | None = None
    ) -> "NeuronScores":
        """Return the scores of a sample in which each block occurs so many times.

        The variance of one sample's score stays that of all samples.

        Args:
            times: 0 leaves a block out; a bootstrap draws these.
            note: what to add to the provenance.

        Raises:
            InputError: when no samples remain.
        """
        counts = self.block_counts * times
        n = int(counts.sum())
        if n == 0:
            raise InputError(
                "Expected scores with two filled blocks of samples or more; got fewer."
            )
        used = counts > 0
        flat = self.block_means[used].double().flatten(1)
        values = (counts[used].double() @ flat / n).reshape(self.values.shape)
        return type(self)(
            values.to(self.values.dtype), self.variance, n, self.block_means[used], counts[used],
            self.real, self.provenance | (note or {}),
        )  # fmt: skip

    def to_table(self) -> pa.Table:
        """Return an Arrow table: layer, neuron, score, standard_error, variance of each neuron."""
        layer, neuron = self.real.nonzero(as_tuple=True)
        columns = {"layer": layer.int(), "neuron": neuron.int(), "score": self.values[self.real]}
        columns["standard_error"] = self.standard_error[self.real]
        columns["variance"] = self.variance[self.real]
        return pa.table({name: column.numpy() for name, column in columns.items()})

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Save the scores as a new folder with ``scores.safetensors``.

        Raises:
            InputError: when the folder exists and ``overwrite`` is off.
        """
        with new_folder(folder, overwrite) as new:
            self.write_into(new)

    def write_into(self, folder: str | os.PathLike[str]) -> None:
        """Write ``scores.safetensors`` into a folder that exists and may hold other files."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        metadata = {"kind": KIND, "n_samples": str(self.n_samples)}
        metadata["provenance"] = json.dumps(self.provenance, sort_keys=True)
        write_tensors(Path(folder) / FILE, tensors, metadata)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "NeuronScores":
        """Load scores from a folder that :meth:`save` or ``brodmann locate`` made.

        Raises:
            InputError: when the folder is missing, corrupt, or holds something else.
        """
        path = Path(folder) / FILE
        tensors, metadata = read_tensors(path)
        if metadata.get("kind") != KIND or set(tensors) != set(_TENSORS):
            raise InputError(f"Expected {KIND} in {path}; it holds something else.")
        provenance = json.loads(metadata["provenance"])
        return cls(**tensors, n_samples=int(metadata["n_samples"]), provenance=provenance)

    def __repr__(self) -> str:
        strongest = self.top(min(3, int(self.real.sum())))
        found = sorted(strongest, key=lambda pair: -abs(self.values[pair].item()))
        told = ", ".join(f"{pair}: {self.values[pair].item():+.3g}" for pair in found)
        size = f"{self.values.shape[0]} layers × {self.values.shape[1]:,} neurons"
        samples = f"{self.n_samples:,} sample{'s' if self.n_samples > 1 else ''}"
        return f"NeuronScores({size}, {samples}; strongest {told}; {describe(self.provenance)})"

    def _repr_html_(self) -> str:
        title = f"Scores of {int(self.real.sum()):,} neurons, {self.n_samples:,} samples"
        return map_svg(self.values, title, describe(self.provenance))


Rule = Callable[[NeuronScores], NeuronSet]
"""A way from scores to a set, e.g. ``lambda scores: scores.top(100)``."""


def _weighted(weights: Sequence[float], tensors: Sequence[Tensor]) -> Float[Tensor, "..."]:
    """The weighted sum, in float64."""
    terms = (w * tensor.double() for w, tensor in zip(weights, tensors, strict=True))
    return torch.stack(list(terms)).sum(0)
