"""Train just them: neuron tuning as a PEFT method, its baselines, and what it exports to."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brodmann.tuning.config import NeuronTuningConfig, neuron_tuning

_HOMES = {"NeuronTuningConfig": "config", "neuron_tuning": "config"}

__all__ = ["NeuronTuningConfig", "neuron_tuning"]


def __getattr__(name: str) -> Any:
    """Import a public name's file and hand the name out: PEFT takes seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'brodmann.tuning' has no attribute '{name}'")
    return getattr(import_module(f"brodmann.tuning.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
