"""Which checkpoint a training run goes on from, and whether it is of the same run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn
from transformers import TrainerState

from brodmann.errors import InputError, MismatchError
from brodmann.launch import process_number
from brodmann.models.language_model import LanguageModel
from brodmann.storage import read_json, write_json
from brodmann.tuning.answers import Row
from brodmann.tuning.config import NeuronTuningConfig
from brodmann.tuning.train_settings import TrainSettings

_STATE, _WORK = "trainer_state.json", "training_work.json"


@runtime_checkable
class PartOfWork(Protocol):
    """A callback that decides what is trained: a run that goes on must have the same."""

    def work(self, trained: nn.Module) -> dict[str, Any]:
        """Say it, as JSON has it, by names that an error can show."""
        ...


def checkpoint_to_resume(
    folder: Path,
    model: LanguageModel,
    trained: nn.Module,
    rows: Sequence[Row],
    eval_rows: Sequence[Row],
    settings: TrainSettings,
    callbacks: Sequence[object] = (),
) -> Path | None:
    """Return the newest whole checkpoint of a folder, or None where a run starts anew.

    Args:
        folder: the run's folder.
        model: the model that learns.
        trained: what holds the trained parameters.
        rows: what it learns.
        eval_rows: what it is evaluated on.
        settings: how it learns.
        callbacks: the run's own; those that are a :class:`PartOfWork` are asked.

    Raises:
        InputError: there are checkpoints, and nobody asked to go on from them.
        MismatchError: they are of other rows, settings, parameters, neurons or another model.
    """
    found = _newest(folder)
    if found is not None and not settings.resume:
        raise InputError(
            f"Expected a folder without checkpoints; {folder} has {found.name}. Write resume to "
            "go on from it, or give another folder."
        )
    work = {
        "fingerprint": model.fingerprint,
        "settings": settings.work(),
        "rows": _digest(rows),
        "eval_rows": _digest(eval_rows),
        "trained": _digest(_trained(trained)),
        "neurons": _digest(_tuned_neurons(trained)),
    }
    for callback in callbacks:
        if isinstance(callback, PartOfWork):
            work |= {name: _digest(value) for name, value in callback.work(trained).items()}
    if found is None:
        if settings.save_every is not None and process_number() == 0:
            write_json(folder / _WORK, work)
        return None
    _check_same(folder, read_json(folder / _WORK), json.loads(json.dumps(work)))
    return found


def steps_done(checkpoint: Path) -> TrainerState:
    """Return how far a checkpoint's run had come."""
    return TrainerState.load_from_json(str(checkpoint / _STATE))


def _newest(folder: Path) -> Path | None:
    # The state is written last: what has none was killed while it was saved.
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_STATE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _trained(module: nn.Module) -> dict[str, list[Any]]:
    named = module.named_parameters()
    return {n: [*p.shape, str(p.dtype)] for n, p in named if p.requires_grad}


def _tuned_neurons(module: nn.Module) -> dict[str, dict[str, list[int]]]:
    # Another set of the same size has parameters of the same names and shapes.
    configs: Any = getattr(module, "peft_config", {})
    return {n: c.neurons for n, c in configs.items() if isinstance(c, NeuronTuningConfig)}


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    names = dict.fromkeys([*now, *before])  # a run without a callback is another one, too
    other = [n for n in names if n != "settings" and now.get(n) != before.get(n)]
    earlier = before.get("settings", {})
    other += [name for name, value in now["settings"].items() if value != earlier.get(name)]
    if other:
        raise MismatchError(
            f"Expected the run that made the checkpoints in {folder}; other are: "
            f"{', '.join(other)}. Write what was written then, or give another folder."
        )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
