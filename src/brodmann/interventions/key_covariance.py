"""Second moments of MLP neurons over a corpus: what ROME's keys usually look like."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import DataError, InputError, MismatchError, ModelError
from brodmann.models.activations import captured
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.cache import cache_folder
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import DenseSite
from brodmann.models.written import left_behind
from brodmann.neurons.provenance import check_made_on
from brodmann.progress import progress as progress_bar
from brodmann.storage import read_tensors, write_tensors

MAX_TOKENS = 100_000
"""Tokens of the corpus that are read, unless told."""

WINDOW = 512
"""Tokens that are read together; longer texts are cut into windows."""

SHRINKAGE = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Shares of the mean diagonal that are tried, in this order, until the matrix can be inverted."""

FEW_TOKENS_SHRINKAGE = 1e-2
"""The share where there are fewer tokens than neurons: the matrix is singular then."""

KEPT_BYTES = 2**30
"""Activations of a batch that are held at a time."""

KIND = "brodmann key covariance 1"


@dataclass(frozen=True, eq=False)
class KeyCovariance:
    """C = E[k k'] of one layer, k the input of the down projection, uncentred.

    Attributes:
        layer: which layer.
        moment: [n, n], the mean of k k' over tokens, without shrinkage.
        n_tokens: how many tokens.
        provenance: model, fingerprint, dtype, digest of the corpus.
    """

    layer: int
    moment: Float[Tensor, "n n"]
    n_tokens: int
    provenance: Mapping[str, Any]

    @property
    def shrinkage(self) -> float:
        """The share lambda of the mean diagonal m in the C + lambda m I that is inverted."""
        return self._factor[1]

    def solve(self, key: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """(C + lambda m I)^-1 k, in float64, on the CPU."""
        column = key.detach().double().cpu()[:, None]
        return torch.cholesky_solve(column, self._factor[0])[:, 0]

    @cached_property
    def _factor(self) -> tuple[Float[Tensor, "n n"], float]:
        """The Cholesky factor, and the shrinkage that it took."""
        moment = self.moment.double()
        few = self.n_tokens < len(moment)
        mean = moment.diagonal().mean()
        for share in (FEW_TOKENS_SHRINKAGE,) if few else SHRINKAGE:
            shrunk = moment + share * mean * torch.eye(len(moment), dtype=torch.float64)
            factor, failed = torch.linalg.cholesky_ex(shrunk)
            if not failed and factor.isfinite().all():
                _warn_of(self, share)
                return factor, share
        raise ModelError(
            f"Expected second moments that can be inverted; those of layer {self.layer} cannot, "
            "as its neurons are 0 on all of the corpus. Give other text, or another layer."
        )

    def check_belongs(self, model: LanguageModel, layer: int) -> None:
        """Check that this is the model's and the layer's.

        Raises:
            MismatchError: it is of another model or another layer.
        """
        remedy = "Make them with key_covariances on this model."
        check_made_on(model.fingerprint, model.name, self.provenance, "key covariances", remedy)
        if self.layer != layer:
            raise MismatchError(
                f"Expected key covariances of layer {layer}; got those of layer {self.layer}. "
                f"Make them with key_covariances(model, texts, [{layer}])."
            )

    def save(self, path: Path | str) -> None:
        """Write one safetensors file, with the provenance in it."""
        about = {"kind": KIND, "layer": self.layer, "n_tokens": self.n_tokens}
        metadata = {key: str(value) for key, value in (about | dict(self.provenance)).items()}
        write_tensors(path, {"moment": self.moment}, metadata)

    @classmethod
    def load(cls, path: Path | str) -> "KeyCovariance":
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file is missing, corrupt or something else.
        """
        tensors, about = read_tensors(path)
        if about.pop("kind", None) != KIND or "moment" not in tensors:
            raise InputError(f"Expected a {KIND} at {path}; it is something else. Make it again.")
        layer, n_tokens = int(about.pop("layer")), int(about.pop("n_tokens"))
        return cls(layer, tensors["moment"], n_tokens, about)


def key_covariances(
    model: LanguageModel,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    max_tokens: int = MAX_TOKENS,
    cache: bool = True,
    progress: bool | None = None,
) -> dict[int, KeyCovariance]:
    """C = E[k k'] over the tokens of a corpus, for several layers in one pass.

    k is the input of the down projection at every token, a BOS in front included. The peer (ROME)
    takes 100,000 articles of Wikipedia; here the corpus is the caller's. The pass ends behind
    the highest layer. Products are taken in float32 (float64 for float64 models) batch by batch
    and added up in float64; the result is kept in float32.

    Where there are fewer tokens than neurons C is singular, and so it is where neurons are never
    on: a share of the mean diagonal is added before it is inverted, which ``shrinkage`` names.

    Args:
        model: the model; give it before it is edited.
        texts: the corpus, read until ``max_tokens``.
        layers: which layers; each takes n * n * 12 bytes meanwhile.
        max_tokens: tokens of the corpus at most.
        cache: keep the result in brodmann's cache folder, under the model's fingerprint and
            dtype and the tokens that were read, and take it from there next time.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        Layer -> its second moments.

    Raises:
        InputError: a layer out of range, a mixture of experts, no tokens asked for.
        DataError: no text.
        ModelError: activations that are not finite.
    """
    check_layers(model, layers)
    windows = _windows(model, texts, max_tokens)
    digest = hashlib.sha256(str(windows).encode()).hexdigest()[:16]
    dtype = str(model.dtype).removeprefix("torch.")
    about = {
        "model": model.name, "fingerprint": model.fingerprint, "dtype": dtype, "corpus": digest
    }  # fmt: skip
    folder = cache_folder() / "key_covariances" / f"{model.fingerprint}-{dtype}-{digest}"
    files = {layer: folder / f"layer-{layer}.safetensors" for layer in layers}
    known = [layer for layer in files if cache and files[layer].exists()]
    found = {layer: KeyCovariance.load(files[layer]) for layer in known}
    missing = [layer for layer in files if layer not in found]
    n_tokens = sum(map(len, windows))
    for layer, moment in _moments(model, windows, missing, progress).items():
        found[layer] = KeyCovariance(layer, moment, n_tokens, about)
        if cache:
            found[layer].save(files[layer])
    return {layer: found[layer] for layer in files}


def check_layers(model: LanguageModel, layers: Sequence[int]) -> None:
    """Refuse layers that do not exist, and those without one down projection.

    Raises:
        InputError: a layer out of range, or none.
        ModelError: a mixture of experts.
    """
    if not layers:
        raise InputError("Expected at least one layer; got none.")
    for layer in layers:
        if not 0 <= layer < model.n_layers:
            raise InputError(
                f"Expected a layer from 0 to {model.n_layers - 1} of '{model.name}'; got {layer}."
            )
        if not isinstance(model.sites[layer], DenseSite):
            raise ModelError(
                f"Expected a layer with one down projection to edit; layer {layer} of "
                f"'{model.name}' is a mixture of experts. Choose a dense layer or model."
            )


@torch.no_grad()
def _moments(
    model: LanguageModel,
    windows: Sequence[Sequence[int]],
    layers: Sequence[int],
    shown: bool | None,
) -> dict[int, Float[Tensor, "_ _"]]:
    """The mean of k k' of each layer, float32 on the CPU."""
    if not layers:
        return {}
    sums: dict[int, Tensor] = {}
    per_token = sum(model.sites[layer].n_neurons for layer in layers) * 4
    budget = min(token_budget(model.hf), max(WINDOW, KEPT_BYTES // per_token))
    plan = plan_batches([len(window) for window in windows], "auto", budget)
    for batch in progress_bar(plan, len(plan), "Reading the corpus", shown=shown):
        padded = right_padded([windows[i] for i in batch], model.pad_id, model.device)
        flat = padded.attention_mask.reshape(-1).nonzero()[:, 0]
        with captured(model, flat, layers=layers) as seen, left_behind(model, max(layers)):
            # Attention looks back only: what stands behind a text cannot reach it.
            model.decoder(input_ids=padded.input_ids, use_cache=False)
        for layer in layers:
            z = seen[layer].z
            assert z is not None
            keys = z.to(model.score_dtype)
            product = (keys.T @ keys).double()
            sums[layer] = sums[layer].add_(product) if layer in sums else product
    n_tokens = sum(map(len, windows))
    return {layer: _checked(sums[layer] / n_tokens, layer).float().cpu() for layer in layers}


def _checked(moment: Tensor, layer: int) -> Tensor:
    if not moment.isfinite().all():
        raise ModelError(
            f"Expected finite activations over the corpus; layer {layer} has NaN or infinity. "
            "Check the model's weights, or load it in float32 or bfloat16."
        )
    return moment


def _windows(model: LanguageModel, texts: Iterable[str], max_tokens: int) -> list[list[int]]:
    """The corpus in windows of tokens, each begun as the tokenizer begins a text (BOS)."""
    if max_tokens < 1:
        raise InputError(f"Expected at least 1 token of the corpus; got max_tokens={max_tokens}.")
    front = list(model.tokenizer("", verbose=False)["input_ids"])
    if front and front[-1] == model.tokenizer.eos_token_id:
        front.pop()
    longest = max(1, min(WINDOW, model.max_tokens or WINDOW) - len(front))
    windows: list[list[int]] = []
    left = max_tokens
    for text in texts:
        ids = list(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        for start in range(0, len(ids), longest):
            window = (front + ids[start : start + longest])[:left]
            windows.append(window)
            left -= len(window)
            if left == 0:
                return windows
    if not windows:
        raise DataError("Expected a corpus with text in it to learn keys from; got none.")
    return windows


def _warn_of(covariance: KeyCovariance, share: float) -> None:
    if share:
        warnings.warn(
            f"C of layer {covariance.layer} ({covariance.n_tokens} tokens, "
            f"{len(covariance.moment)} neurons) is singular; {share:g} of its mean diagonal is "
            "added. Give a larger corpus.",
            stacklevel=4,
        )
