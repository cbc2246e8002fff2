"""Write trained neurons as a LoRA adapter: exact, for whatever knows LoRA and not brodmann.

A delta on k rows of a matrix has rank k at most, and its factors are known without any
decomposition: one is the delta itself, the other says which rows they are.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from torch import Tensor

from brodmann.errors import InputError, ModelError
from brodmann.models import LanguageModel
from brodmann.models.sites import ExpertSite
from brodmann.tuning.matrices import TunedMatrix, tuned_matrices
from brodmann.tuning.merged_checkpoint import base_of

_WEIGHTS = "adapter_model.safetensors"


def export_lora(
    model: LanguageModel, trained: PeftModel, folder: Path | str, adapter: str = "default"
) -> int:
    """Save one adapter in PEFT's LoRA format.

    All matrices get one rank, because servers want it so: the most rows or columns that any of
    them has trained (a fused gate and up has two rows for a neuron). The others are filled up with
    zeros. ``lora_alpha`` equals the rank, so that the scale is 1.

    Args:
        model: the model that was tuned.
        trained: the adapters around it.
        folder: where to write; files of the same name are replaced.
        adapter: which adapter.

    Returns:
        The rank.

    Raises:
        InputError: no adapter of that name.
        MismatchError: the adapters are around another model.
        ModelError: what LoRA cannot say: trained biases, modules trained whole, experts.
    """
    hf = base_of(model, trained)
    if adapter not in trained.peft_config:
        known = ", ".join(sorted(trained.peft_config))
        raise InputError(f"Expected an adapter out of {known}; got '{adapter}'.")
    config = trained.peft_config[adapter]
    _check_no_experts(model)
    matrices = tuned_matrices(hf, adapter)
    _check_can_be_lora(matrices, getattr(config, "modules_to_save", None))
    rank = max(len(matrix.indices) for matrix in matrices)
    tensors: dict[str, Tensor] = {}
    for matrix in matrices:
        key = f"base_model.model.{matrix.name}"
        down, up = lora_factors(matrix, rank)
        tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    _lora_config(matrices, rank, config.base_model_name_or_path).save_pretrained(str(folder))
    save_file(tensors, Path(folder) / _WEIGHTS, metadata={"format": "pt"})
    return rank


@torch.no_grad()
def lora_factors(
    matrix: TunedMatrix, rank: int
) -> tuple[Float[Tensor, "{rank} _"], Float[Tensor, "_ {rank}"]]:
    """Return A [rank, in] and B [out, rank] with B A = the delta of the whole matrix, exactly.

    Args:
        matrix: its trained rows or columns.
        rank: as many as these, or more; what is left is zero.
    """
    outputs, inputs = matrix.shape
    delta = matrix.delta.detach().cpu()
    down, up = delta.new_zeros(rank, inputs), delta.new_zeros(outputs, rank)
    places, indices = torch.arange(len(delta)), matrix.indices.cpu()
    if matrix.axis == "row":
        down[: len(delta)] = delta
        up[indices, places] = 1
    else:
        down[places, indices] = 1
        up[:, : len(delta)] = delta.T
    return down, up


def _lora_config(matrices: list[TunedMatrix], rank: int, base: str | None) -> LoraConfig:
    return LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        # Whole names: a suffix would also match layers without trained neurons.
        target_modules=[matrix.name for matrix in matrices],
        fan_in_fan_out=any(matrix.transposed for matrix in matrices),
        bias="none",
        task_type="CAUSAL_LM",
        inference_mode=True,
        base_model_name_or_path=base,
    )


def check_has_lora_form(model: LanguageModel, trained: Any) -> None:
    """Refuse, before it is trained, an adapter that will have no LoRA form.

    Raises:
        ModelError: biases or modules that are trained whole, or a model with experts.
    """
    _check_no_experts(model)
    config = trained.peft_config["default"]
    _check_whole(config.modules_to_save)
    biases = [name for name, _ in trained.named_parameters() if ".brodmann_bias." in name]
    if biases:
        raise ModelError(
            f"LoRA has no biases, and those of {len(biases)} projections are to be trained; leave "
            "them out (--no-biases, train_bias=False), or export merged."
        )


def _check_no_experts(model: LanguageModel) -> None:
    if any(isinstance(site, ExpertSite) for site in model.sites):
        raise ModelError(
            "Expected a model without experts: PEFT moves a LoRA of such a model's dense layers to "
            "its experts when it loads it. Export merged."
        )


def _check_whole(whole: list[str] | None) -> None:
    if whole:
        raise ModelError(
            f"Expected trained neurons alone; {', '.join(whole)} were trained whole. Export merged."
        )


def _check_can_be_lora(matrices: list[TunedMatrix], whole: list[str] | None) -> None:
    biases = [matrix.name for matrix in matrices if _has_bias_delta(matrix)]
    if biases:
        raise ModelError(
            f"LoRA has no biases, and those of {len(biases)} projections were trained "
            f"('{biases[0]}' first); train with train_bias=False, or export merged."
        )
    _check_whole(whole)


def _has_bias_delta(matrix: TunedMatrix) -> bool:
    return matrix.bias_delta is not None and bool(matrix.bias_delta.any())
