"""Reports: tables, figures and text made of saved results; never of a model."""

from pathlib import Path


def report_folder(folder: str | Path) -> Path:
    """Draw the figures and write ``report.md`` into a result folder; returns the report's path."""
    raise NotImplementedError


def print_tables(folder: str | Path) -> None:
    """Print a result folder's tables on stdout; they end with the verdict."""
    raise NotImplementedError
