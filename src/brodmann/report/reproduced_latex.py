"""``table.tex``: ours above the paper's numbers, for booktabs."""

import re
from collections.abc import Sequence
from pathlib import Path

from brodmann.report.reproduced_results import Reproduced
from brodmann.report.reproduced_tables import control_table, our_table, paper_tables
from brodmann.report.tables import TextTable

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    **{mark: "\\" + mark for mark in "&%$#_"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Behind the end of a line, TeX would take these two for its arguments.
    "*": "{*}",
    "[": "{[}",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "σ": r"$\sigma$",
    "…": r"\ldots{}",
}
_PATTERN = re.compile("|".join(re.escape(mark) for mark in _SPECIAL))
_PREAMBLE = "% Needs \\usepackage{booktabs} and UTF-8 input (and \\usepackage[T1]{fontenc}).\n"


def write_latex(result: Reproduced, path: Path) -> None:
    """Write a table environment for each block."""
    made = [_table(result, block) for block in result.paper_blocks]
    path.write_text(_PREAMBLE + "\n".join(made), encoding="utf-8")


def latex_text(value: object) -> str:
    """Escape text for LaTeX: words of a model or a file do nothing."""
    one_line = " ".join(str(value).split())
    return _PATTERN.sub(lambda match: _SPECIAL[match.group()], one_line)


def _table(result: Reproduced, block: str) -> str:
    ours = our_table(result, block)
    parts = [ours, *paper_tables(result, block)]
    controls = control_table(result, block)
    # Controls have columns of their own; they share a table where the columns are the same.
    if controls is not None and list(controls.columns) == list(ours.columns):
        parts.insert(1, controls)
    width = len(ours.columns)
    caption = f"{result.place}, {block}: {result.title} ({result.model})"
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(caption)}. In brackets: 95\% intervals.}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _line(ours.columns),
    ]
    for part in parts:
        if part.rows:
            lines += [r"\midrule", *_part(part, width)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _part(table: TextTable, width: int) -> list[str]:
    title = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{latex_text(table.title)}}}}} \\"
    return [title, *(_line(row) for row in table.rows)]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
