"""`Trace`: what causal tracing says about one fact, as a value; and files of them."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import InputError
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.storage import plain, read_tensors, write_tensors

KINDS = ("residual", "mlp", "attention")
"""What is restored: the residual stream behind a layer, or a window of sublayers' outputs."""

_SUFFIX = ".trace.safetensors"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """Where in a model one fact is restored from.

    Attributes:
        fact: the fact's id.
        tokens: the prompt's tokens, special ones included, as text.
        subject: which of them are the subject's, [start, end).
        answer: the answer whose probability is looked at, as text, and
        answer_ids: as tokens.
        clean: its probability in the clean run.
        corrupted: its probability with noise on the subject, the mean over the draws.
        effects: kind -> probability with one state restored minus ``corrupted``, the mean over
            the draws, for each token and layer. 0 in front of the subject, where nothing changes;
            NaN at tokens that were not traced.
        provenance: model and options.
    """

    fact: str
    tokens: tuple[str, ...]
    subject: tuple[int, int]
    answer: str
    answer_ids: tuple[int, ...]
    clean: float
    corrupted: float
    effects: Mapping[str, Float[Tensor, "T L"]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def effect(self, kind: str) -> Float[Tensor, "T L"]:
        """The effects of one kind.

        Raises:
            InputError: it was not traced.
        """
        if kind not in self.effects:
            raise InputError(f"Expected a kind out of {', '.join(self.effects)}; got '{kind}'.")
        return self.effects[kind]

    def by_layer(self, kind: str) -> Float[Tensor, "L"]:
        """The effects of one kind at the subject's last token.

        Raises:
            InputError: it was not traced.
        """
        return self.effect(kind)[self.subject[1] - 1]


def top_layers(trace: Trace, k: int = 3, kind: str = "mlp") -> tuple[int, ...]:
    """The layers where restoring the subject's last token restores most, the strongest first.

    The paper takes the top three layers of a fact and does not say of which token; it is the
    subject's last here, where ROME finds the effect and edits.

    Args:
        trace: of one fact.
        k: how many.
        kind: what was restored.

    Raises:
        InputError: a kind that was not traced, or a k that is not from 1 to the number of layers.
    """
    effects = trace.by_layer(kind)
    if not 1 <= k <= len(effects):
        raise InputError(f"Expected k from 1 to {len(effects)} layers; got {k}.")
    return tuple(effects.argsort(descending=True, stable=True)[:k].tolist())


def layers_as_neurons(model: LanguageModel, layers: Iterable[int]) -> NeuronSet:
    """All MLP neurons of some layers, to compare tracing with methods that score neurons.

    It is a projection of our own, which no paper makes.

    Raises:
        InputError: a layer that the model does not have.
    """
    chosen = sorted(set(layers))
    mask = torch.zeros_like(model.real)
    for layer in chosen:
        if not 0 <= layer < model.n_layers:
            raise InputError(f"Expected a layer from 0 to {model.n_layers - 1}; got {layer}.")
        mask[layer] = model.real[layer]
    provenance = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "method": "tracing",
        "rule": {"layers": chosen},
    }
    return NeuronSet.from_mask(mask, model.real, provenance)


def write_trace(folder: str | os.PathLike[str], trace: Trace) -> Path:
    """Write one trace into a folder, whole or not at all, as a file of its own.

    Returns:
        The file; its name follows from the fact's id and prompt.
    """
    name = sha256("\0".join((trace.fact, *trace.tokens)).encode()).hexdigest()[:16]
    path = Path(folder) / f"{name}{_SUFFIX}"
    told = {
        "fact": trace.fact,
        "tokens": list(trace.tokens),
        "subject": list(trace.subject),
        "answer": trace.answer,
        "answer_ids": list(trace.answer_ids),
        "clean": trace.clean,
        "corrupted": trace.corrupted,
        "provenance": plain(trace.provenance),
    }
    write_tensors(path, trace.effects, {"trace": json.dumps(told, ensure_ascii=False)})
    return path


def read_traces(folder: str | os.PathLike[str]) -> list[Trace]:
    """Read all traces of a folder, in the order of their facts' names.

    Raises:
        InputError: a folder without traces, or a file that is not one.
    """
    paths = sorted(Path(folder).glob(f"*{_SUFFIX}"))
    if not paths:
        raise InputError(f"Expected a folder with traces (*{_SUFFIX}); {folder} has none.")
    return sorted((_read(path) for path in paths), key=lambda trace: (trace.fact, trace.tokens))


def _read(path: Path) -> Trace:
    effects, metadata = read_tensors(path)
    if "trace" not in metadata:
        raise InputError(f"Expected a trace; {path} holds something else. Trace the fact again.")
    told = json.loads(metadata["trace"])
    for name in ("tokens", "subject", "answer_ids"):
        told[name] = tuple(told[name])
    kinds = sorted(effects, key=KINDS.index)
    return Trace(effects={kind: effects[kind] for kind in kinds}, **told)
