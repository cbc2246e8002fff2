"""LoRA on the MLP's projections: the baseline that most people would train instead."""

from collections.abc import Iterable

from peft import LoraConfig

from brodmann.errors import InputError, ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import ExpertSite
from brodmann.tuning.dense_modules import dense_modules
from brodmann.tuning.prepared import Prepared, check_no_adapters, with_adapter


def prepare_lora(
    model: LanguageModel,
    rank: int = 8,
    alpha: int | float | None = None,
    dropout: int | float = 0,
    layers: Iterable[int] | None = None,
) -> Prepared:
    """Prepare to train PEFT's LoRA on gate, up and down of the dense MLPs.

    Args:
        model: the model; the adapter is put into it.
        rank: of each module's difference.
        alpha: the difference is scaled by alpha / rank; None scales by 1.
        dropout: of what goes into the adapter, from 0 to 1.
        layers: only these; all by default.

    Raises:
        InputError: a rank below 1, a dropout outside [0, 1), or no such layer.
        ModelError: a model that has adapters already, or layers of experts.
    """
    check_no_adapters(model)
    return with_adapter(model, lora_config(model, rank, alpha, dropout, layers))


def lora_config(
    model: LanguageModel,
    rank: int,
    alpha: int | float | None,
    dropout: int | float,
    layers: Iterable[int] | None,
) -> LoraConfig:
    """PEFT's config for the dense MLPs.

    Raises:
        InputError: a rank below 1, a dropout outside [0, 1), or no such layer.
        ModelError: a model with layers of experts.
    """
    if rank < 1:
        raise InputError(f"Expected a rank of 1 or more; got {rank}.")
    if not 0 <= dropout < 1:
        raise InputError(f"Expected a dropout from 0 to below 1; got {dropout}.")
    if any(isinstance(site, ExpertSite) for site in model.sites):
        # PEFT would put what is meant for a dense MLP on the experts of the other layers: it takes
        # the names for those that the experts' projections had before they were stacked.
        raise ModelError(
            f"Expected dense MLPs in all layers for LoRA; '{model.name}' has layers of experts, "
            "which are not its targets here. Compare with method 'full' or 'random'."
        )
    modules = dense_modules(model, layers)
    scale: float = rank if alpha is None else alpha
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=scale,  # pyrefly: ignore
        lora_dropout=float(dropout),
        target_modules=list(modules.names),
        fan_in_fan_out=modules.conv1d,
        bias="none",
    )
