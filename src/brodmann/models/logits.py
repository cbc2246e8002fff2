"""The unembedding as the architecture row describes it: directions of tokens, and logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.architectures import submodule
from brodmann.models.language_model import LanguageModel
from brodmann.models.weights import dense_weight


def final_norm_module(model: LanguageModel) -> nn.Module:
    """The norm in front of the unembedding.

    Raises:
        ModelError: the row names none, or the model has none there (OPT-350m).
    """
    module = submodule(model.decoder, model.architecture.final_norm)
    if module is None:
        raise ModelError(
            f"Expected the final norm at '{model.architecture.final_norm}' as architecture row "
            f"'{model.architecture.name}' says; '{model.name}' has none (models that normalise "
            "after the residual add, such as opt-350m, are not supported)."
        )
    return module


def logit_factor(model: LanguageModel) -> float:
    """The constant factor on the logits (cohere, granite; 1 elsewhere)."""
    row, config = model.architecture, model.hf.config
    scale = float(getattr(config, row.logit_scale)) if row.logit_scale else 1.0
    return scale / float(getattr(config, row.logit_divisor)) if row.logit_divisor else scale


def soft_cap(model: LanguageModel) -> float | None:
    """The c of c * tanh(logits / c), where the model caps its logits."""
    row = model.architecture
    return getattr(model.hf.config, row.soft_cap, None) if row.soft_cap else None


def token_directions(
    model: LanguageModel, tokens: Int[Tensor, "P"], dtype: torch.dtype
) -> Float[Tensor, "P D"]:
    """Rows of W_un for the given tokens, times the logit factor."""
    with dense_weight(model.head) as weight:
        rows = weight[tokens.to(weight.device)].to(dtype)
    return rows * logit_factor(model)


def logits_from_normed(model: LanguageModel, normed: Float[Tensor, "P D"]) -> Float[Tensor, "P V"]:
    """Logits of the final norm's output: factor * (W_un x + b), soft-capped where the row says."""
    logits = model.head(normed) * logit_factor(model)
    cap = soft_cap(model)
    return torch.tanh(logits / cap) * cap if cap else logits
