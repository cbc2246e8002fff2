"""Before a run: which path is right for a model, how much memory a tail takes, and completeness."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.localize.room import Room
from brodmann.localize.tails import (
    Path,
    entries,
    rerun,
    staircase,
    tail_log_probabilities,
)
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix
from brodmann.models.tail_layers import drives

PATHS: dict[str, Path] = {"staircase": staircase, "expanded cache": rerun}
"""By the name that stands in the provenance; the first is several times faster."""

_AGREES = {torch.float64: 1e-4, torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.01}
"""How far states at alpha = 1 may be from the model's own, relatively, for a path to be right."""


@torch.no_grad()
def right_path(model: LanguageModel, prefix: Prefix) -> str:
    """The name of the fastest path that reproduces the model on a sample.

    At alpha = 1 nothing is changed, so every tail must end where the model itself ended.

    Args:
        model: the model.
        prefix: a sample, read before.
    """
    if not drives(model):
        return "expanded cache"
    tasks = torch.arange(len(prefix.owners))
    ones = torch.ones(len(tasks), 1)
    starts = entries(model, prefix, tasks, [ones] * model.n_layers)
    ends = staircase(model, prefix, tasks, starts)
    own = prefix.final[:, None].to(ends)
    error = (ends - own).norm(dim=-1) / own.norm(dim=-1)
    return "staircase" if float(error.max()) < _AGREES[model.dtype] else "expanded cache"


def measured_room(
    model: LanguageModel, prefix: Prefix, path: Path, steps: int, budget: int | float
) -> Room:
    """How many tails go at once, from what the backward pass keeps for one and for two of them.

    Args:
        model: the model.
        prefix: the longest sample, read before.
        path: how tails are carried.
        steps: scalings that an answer token needs.
        budget: bytes.
    """
    one, two = (_kept_bytes(model, prefix, path, scalings) for scalings in (1, 2))
    per_tail = max(1, two - one)
    return Room.within(budget, max(0, one - per_tail), per_tail, steps, model.device)


def _kept_bytes(model: LanguageModel, prefix: Prefix, path: Path, scalings: int) -> int:
    own = {parameter.untyped_storage().data_ptr() for parameter in model.hf.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tasks = torch.tensor([len(prefix.owners) - 1])
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        starts = entries(model, prefix, tasks, [torch.ones(1, scalings)] * model.n_layers)
        path(model, prefix, tasks, starts)
    return sum(kept.values())


def completeness_error(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    sums: Float[Tensor, "t L"],
    path: Path,
    *,
    logarithm: bool,
) -> Float[Tensor, "t L"]:
    """How far scores are from adding up to P(full) - P(site vector zeroed), token by token.

    Relative to max(P(full), 1e-3); for log P absolute.

    Args:
        model: the model.
        prefix: the sequences, read before.
        tasks: indices of chosen tokens of the prefix.
        targets: the token whose probability counts, for each.
        sums: the scores' sums over each layer's neurons.
        path: how tails are carried.
        logarithm: scores of log P in place of P.
    """
    log_p = tail_log_probabilities(model, prefix, tasks, targets, (0.0, 1.0), path=path)
    value = log_p if logarithm else log_p.exp()
    difference = (sums.to(value) - (value[..., 1] - value[..., 0])).abs()
    return difference if logarithm else difference / value[..., 1].clamp_min(1e-3)
