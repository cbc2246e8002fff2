"""`LanguageModel`: a Hugging Face causal LM, its tokenizer and where its neurons are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from brodmann.models.architectures import Architecture
from brodmann.models.sites import NeuronSite
from brodmann.models.weights import in_place


@dataclass(eq=False, repr=False)
class LanguageModel:
    """A causal language model as it is, with the places of its MLP neurons.

    Made by :func:`brodmann.load_model`; nothing of ``hf`` is renamed or replaced.

    Attributes:
        hf: the Hugging Face model (a PreTrainedModel, or a PeftModel around one), in eval mode.
        tokenizer: its fast tokenizer.
        name: what the model was asked for by.
        architecture: the row that says where its neurons are.
        sites: one :class:`NeuronSite` per layer, from the bottom up.
        fingerprint: a hash of the weights; sets carry it.
        quantisation: what the weights were rounded to (``"Q4_1"``), or None.
    """

    hf: Any
    tokenizer: PreTrainedTokenizerBase
    name: str
    architecture: Architecture
    sites: Sequence[NeuronSite]
    fingerprint: str
    quantisation: str | None = None

    def __repr__(self) -> str:
        """One line: name, family, layers and neurons, dtype, device."""
        rounded = f", {self.quantisation}" if self.quantisation else ""
        return (
            f"LanguageModel({self.name}: {self.hf.config.model_type}, {self.n_layers} layers, "
            f"{self.n_neurons_total:,} neurons, {self.dtype}{rounded}, {self.device})"
        )

    @property
    def n_layers(self) -> int:
        """Decoder layers (L)."""
        return len(self.sites)

    @property
    def n_neurons(self) -> int:
        """Neurons of the widest layer (N)."""
        return max(site.n_neurons for site in self.sites)

    @property
    def n_neurons_total(self) -> int:
        """Neurons that exist, without the padding of narrower layers."""
        return sum(site.n_neurons for site in self.sites)

    @cached_property
    def real(self) -> Bool[Tensor, "L N"]:
        """True where a neuron exists (narrower layers are padded to the widest)."""
        widths = torch.tensor([site.n_neurons for site in self.sites])
        return torch.arange(self.n_neurons)[None, :] < widths[:, None]

    @property
    def decoder(self) -> nn.Module:
        """The stack of layers without the unembedding."""
        return self.hf.get_decoder()

    @property
    def head(self) -> nn.Module:
        """The unembedding."""
        head: nn.Module = self.hf.get_output_embeddings()
        return head

    @property
    def width(self) -> int:
        """Width of the residual stream (D)."""
        return int(self.hf.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        embeddings = self.hf.get_input_embeddings()
        with in_place(embeddings):
            return next(embeddings.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type the model computes in."""
        return self.hf.dtype

    @property
    def score_dtype(self) -> torch.dtype:
        """The type that scores are computed in: float32, or float64 for float64 models."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def pad_id(self) -> int:
        """A token id to fill padded places with; they are masked, so that any will do."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if isinstance(candidate, int):
                return candidate
        return 0

    @property
    def max_tokens(self) -> int | None:
        """The longest sequence the model was built for, where its config says so."""
        config = self.hf.config
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            if isinstance(value := getattr(config, key, None), int):
                return value
        return None
