"""Train just them: neuron tuning as a PEFT method, its baselines, and what it exports to."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from brodmann.tuning.on_import import check_peft

if TYPE_CHECKING:
    from brodmann.tuning.answers import training_rows
    from brodmann.tuning.config import NeuronTuningConfig, neuron_tuning
    from brodmann.tuning.lora_form import export_lora
    from brodmann.tuning.merged_checkpoint import export_merged
    from brodmann.tuning.train_settings import TrainSettings
    from brodmann.tuning.training import train
    from brodmann.tuning.use_adapter import adapted

_HOMES = {
    "NeuronTuningConfig": "config",
    "TrainSettings": "train_settings",
    "adapted": "use_adapter",
    "export_lora": "lora_form",
    "export_merged": "merged_checkpoint",
    "neuron_tuning": "config",
    "train": "training",
    "training_rows": "answers",
}

__all__ = [
    "NeuronTuningConfig",
    "TrainSettings",
    "adapted",
    "export_lora",
    "export_merged",
    "neuron_tuning",
    "train",
    "training_rows",
]


def __getattr__(name: str) -> Any:
    """Import a public name's file and hand the name out: PEFT takes seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'brodmann.tuning' has no attribute '{name}'")
    check_peft()
    return getattr(import_module(f"brodmann.tuning.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
