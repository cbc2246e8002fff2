"""`report_folder`: figures and ``report.md`` for a folder of saved results."""

from pathlib import Path

from brodmann.report.figure_curves import draw_convergence, draw_doses
from brodmann.report.figure_matrices import draw_erasure, draw_overlaps
from brodmann.report.figure_neurons import draw_neurons
from brodmann.report.markdown import write_markdown
from brodmann.report.results import Results, load_results
from brodmann.report.terminal import print_results


def report_folder(folder: str | Path) -> Path:
    """Draw the figures and write ``report.md`` into a result folder.

    Args:
        folder: what ``brodmann map`` wrote; only its saved rows, scores and sets are read.

    Returns:
        The path of the report.

    Raises:
        InputError: when the folder is missing, or holds something else.
    """
    results = load_results(folder)
    return write_markdown(results, draw_figures(results))


def draw_figures(results: Results) -> list[tuple[str, str]]:
    """Draw every picture into ``figures/``; returns (path, what it shows) of each."""
    (results.folder / "figures").mkdir(exist_ok=True)
    drawn = []
    for name, draw in (
        ("neurons", draw_neurons),
        ("overlap", draw_overlaps),
        ("convergence", draw_convergence),
    ):
        path = f"figures/{name}.png"
        drawn.append((path, draw(results, results.folder / path)))
    for variant in results.erased_variants:
        for name, draw_variant in (("erasure", draw_erasure), ("dose", draw_doses)):
            suffix = "" if variant == "free" else f".{variant}"
            path = f"figures/{name}{suffix}.png"
            drawn.append((path, draw_variant(results, variant, results.folder / path)))
    return drawn


def print_tables(folder: str | Path) -> None:
    """Print a result folder's tables on stdout; the last lines are the verdict in plain words.

    Raises:
        InputError: when the folder is missing, or holds something else.
    """
    print_results(load_results(folder))
