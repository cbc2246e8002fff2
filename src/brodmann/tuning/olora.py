"""O-LoRA (arXiv 2310.14152): task after task, each in a subspace apart from those before.

Not PEFT's ``init_lora_weights="olora"``, which is another paper's orthonormal initialisation.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from brodmann.errors import InputError
from brodmann.models.language_model import LanguageModel
from brodmann.tuning.adapter_files import NEW, adapter_config, earlier_name, load_adapter
from brodmann.tuning.lora import lora_config
from brodmann.tuning.prepared import Prepared, check_no_adapters, parameter_count, with_adapter


def prepare_olora(
    model: LanguageModel,
    earlier: Sequence[str | os.PathLike[str]],
    rank: int = 8,
    weight: int | float = 0.5,
    alpha: int | float | None = None,
) -> Prepared:
    """Prepare to train one more LoRA beside those of earlier tasks, which stay as they are.

    The loss gains weight * sum over modules and earlier adapters of sum |A_earlier A_new^T|, so
    that what the new adapter reads from the residual stream is orthogonal to what the earlier
    read. All are active. With A as PEFT keeps it, [rank, in]. What differs from the paper: the
    absolute values are those of its authors' program, where its equation has squares; their
    second term, an L2 penalty on the new adapter with weight 0 by default, is left out; the
    adapters are on gate, up and down of the MLPs, and not on the attention's projections.

    What is saved of the trained model is the new adapter in the folder itself, and the earlier
    ones in its subfolders ``earlier0``, ``earlier1`` and so on;
    :func:`brodmann.tuning.adapted` uses all of them. Each adapter of a sequence is given by its
    folder, of which only the adapter in the folder itself is taken.

    Args:
        model: the model; the adapters are put into it.
        earlier: folders of the earlier tasks' LoRA adapters. Without any this is plain LoRA.
        rank: of the new adapter.
        weight: of the added loss.
        alpha: the new difference is scaled by alpha / rank; None scales by 1.

    Raises:
        InputError: a folder without a LoRA adapter, a rank below 1, or a negative weight.
        MismatchError: an adapter that does not fit this model.
        ModelError: a model that has adapters already, or layers of experts.
    """
    check_no_adapters(model)
    if not weight >= 0:
        raise InputError(f"Expected a weight of 0 or more; got {weight}.")
    folders = [Path(folder) for folder in earlier]
    for folder in folders:
        _check_lora(folder)
    prepared = with_adapter(model, lora_config(model, rank, alpha, 0, None))
    if not folders:
        return replace(prepared, note="without earlier adapters O-LoRA is plain LoRA")
    trained: Any = prepared.trained
    names = [earlier_name(number) for number in range(len(folders))]
    for name, folder in zip(names, folders, strict=True):
        load_adapter(trained, folder, name, model.name)
    trained.base_model.set_adapter([NEW, *names])
    trained.set_requires_grad(names, requires_grad=False)
    return replace(
        prepared,
        extra_loss=partial(orthogonality, earlier=names, weight=float(weight)),
        trained_parameters=parameter_count(trained),
    )


def orthogonality(trained: nn.Module, *, earlier: Sequence[str], weight: float) -> Tensor:
    """Give weight * sum over modules and earlier adapters of sum |A_earlier A_new^T|."""
    terms: list[Tensor] = []
    for module in trained.modules():
        if not isinstance(module, LoraLayer) or NEW not in module.lora_A:
            continue
        new = _whole(module.lora_A[NEW].get_parameter("weight"))
        for name in earlier:
            if name in module.lora_A:
                old = _whole(module.lora_A[name].get_parameter("weight").detach())
                terms.append((old.to(new) @ new.T).abs().sum())
    if not terms:
        return torch.zeros(())
    return weight * torch.stack([term.to(terms[0].device) for term in terms]).sum()


def _whole(weight: Any) -> Tensor:
    """The matrix itself, also where FSDP2 has spread it over processes."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def _check_lora(folder: Path) -> None:
    config = adapter_config(folder)
    if not isinstance(config, LoraConfig):
        raise InputError(
            f"Expected LoRA in '{folder}'; it holds {config.peft_type}. Give the folders of "
            "adapters that lora or olora has trained."
        )
