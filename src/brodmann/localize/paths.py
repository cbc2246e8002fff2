"""Before a run: which path is right for a model, and how much memory its tails take."""

import torch
from torch import Tensor

from brodmann.localize.room import Room
from brodmann.localize.tails import Path, entries, rerun, staircase
from brodmann.models.driven_attention import drives
from brodmann.models.frozen import frozen
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix

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
    starts = entries(model, prefix, tasks, _unscaled(model, len(tasks), 1))
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
    saved = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with torch.enable_grad(), frozen(model.hf), saved:
        starts = entries(model, prefix, tasks, _unscaled(model, 1, scalings))
        path(model, prefix, tasks, starts)
    return sum(kept.values())


def _unscaled(model: LanguageModel, tasks: int, scalings: int) -> dict[int, Tensor]:
    return dict.fromkeys(range(model.n_layers), torch.ones(tasks, scalings))
