"""`report_reproduced`: Markdown, CSV, LaTeX and pictures of reproduced tables and figures."""

from collections.abc import Callable
from pathlib import Path

from brodmann.report.figure_edits import draw_edits
from brodmann.report.reproduced_csv import write_csv
from brodmann.report.reproduced_curves import draw_bars, draw_lines
from brodmann.report.reproduced_dots import draw_dots
from brodmann.report.reproduced_latex import write_latex
from brodmann.report.reproduced_markdown import write_index, write_report
from brodmann.report.reproduced_matrices import draw_map, draw_matrices
from brodmann.report.reproduced_results import Reproduced, find_reproduced

PICTURES: dict[str, Callable[[Reproduced, Path], str]] = {
    "dcsn-figure-2": draw_bars,
    "dcsn-table-4": draw_lines,
    "dcsn-table-5": draw_matrices,
    "dcsn-table-12": draw_lines,
    "cnl-figure-2": draw_edits,
    "cnl-figure-4": draw_map,
    "cnl-figure-5": draw_matrices,
    "cnl-figure-6": draw_lines,
    "cnl-figure-7": draw_matrices,
}
"""How an experiment is drawn; the others as dots beside the paper's."""


def report_reproduced(folder: str | Path) -> Path:
    """Write the report of each reproduced table or figure in a folder.

    Each result folder gets ``report.md``, ``tables/`` (CSV and LaTeX) and ``figures/`` (PNG and
    SVG); only its saved rows are read.

    Args:
        folder: what ``brodmann reproduce`` wrote: one result, or a folder with many.

    Returns:
        The report; for a folder with many its ``index.md``.

    Raises:
        InputError: when there is no result, or it cannot be read.
    """
    folder = Path(folder)
    results = find_reproduced(folder)
    written = [_report(result) for result in results]
    return written[0] if results[0].folder == folder else write_index(results, folder)


def _report(result: Reproduced) -> Path:
    for name in ("figures", "tables"):
        (result.folder / name).mkdir(exist_ok=True)
    figure = f"figures/{_file_stem(result.id)}.png"
    draw = PICTURES.get(result.id, draw_dots)
    words = draw(result, result.folder / figure)
    write_latex(result, result.folder / "tables" / "table.tex")
    return write_report(result, figure, words, write_csv(result, result.folder / "tables"))


def _file_stem(name: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "-." else "-" for mark in name)
