"""Experiments: the papers' questions put to a model, with controls; results are saved rows."""

from brodmann.experiments.map import run_map
from brodmann.experiments.map_config import PRESETS, MapConfig, Thresholds, preset

__all__ = ["PRESETS", "MapConfig", "Thresholds", "preset", "run_map"]
