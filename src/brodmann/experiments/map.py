"""`run_map`: the whole story of a model's capabilities, from locating neurons to a verdict."""

from collections.abc import Callable
from pathlib import Path

from brodmann.experiments.map_config import MapConfig
from brodmann.models.language_model import LanguageModel


def run_map(
    model: LanguageModel,
    config: MapConfig,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    finish: Callable[[Path], object] | None = None,
) -> Path:
    """Map a model's capabilities and write the result to a folder.

    Args:
        model: the model.
        config: what to measure; see :func:`brodmann.experiments.preset`.
        out: the folder to make. Finished work is kept in ``<out>.partial`` meanwhile.
        overwrite: replace a folder that brodmann made earlier.
        resume: go on with what ``<out>.partial`` holds; without it, an old one is discarded.
        finish: called with the folder before it takes its name, such as
            :func:`brodmann.report.report_folder`.

    Returns:
        The folder.

    Raises:
        InputError: when the folder cannot be written, or ``<out>.partial`` is of other work.
    """
    raise NotImplementedError
