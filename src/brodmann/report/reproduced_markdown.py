"""``report.md`` of a reproduced experiment, and ``index.md`` of many."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from brodmann.report.markdown import markdown_table, render_page
from brodmann.report.reproduced_results import Reproduced
from brodmann.report.reproduced_tables import (
    claim_words,
    control_table,
    our_table,
    overview_table,
    paper_tables,
    recomputed_table,
    statistics_table,
)
from brodmann.report.tables import TextTable

_MOST_LINES = 60
"""A longer table of statistics stands in the CSV files only."""

_SHOWN_KEYS = ("fingerprint", "quantisation", "dtype", "device", "finished")


def write_report(result: Reproduced, figure: str, words: str, csv_files: Sequence[str]) -> Path:
    """Write ``report.md`` into the result's folder.

    Args:
        result: what was measured.
        figure: path of the picture, relative to the folder.
        words: what the picture shows.
        csv_files: names of the files in ``tables/``.
    """
    statistics = statistics_table(result)
    page = render_page(
        "reproduced.md.j2",
        result=result,
        run=result.run,
        claim_words=claim_words,
        blocks=[_block(result, block) for block in result.paper_blocks],
        controls=_written([control_table(result, block) for block in result.blocks]),
        statistics=_written([statistics]) if _fits(statistics) else [],
        recomputed=_written([recomputed_table(result)]),
        figure=figure,
        words=words,
        csv_files=csv_files,
        about=[(key, result.run[key]) for key in _SHOWN_KEYS if result.run.get(key) is not None],
        values=_flat(result.run.get("config", {})),
        preset=str(result.run.get("preset", "not given")),
        environment={"versions": {}, "platform": ""} | result.run.get("environment", {}),
        command=_command(result.run.get("command")),
    )
    path = result.folder / "report.md"
    path.write_text(page + "\n", encoding="utf-8")
    return path


def write_index(results: Sequence[Reproduced], folder: Path) -> Path:
    """Write ``index.md``: all experiments of a folder, their verdicts and their reports."""
    page = render_page(
        "reproduced_index.md.j2",
        overview=_written([overview_table(results)])[0],
        results=[(one, _link(one, folder)) for one in results],
        claim_words=claim_words,
    )
    path = folder / "index.md"
    path.write_text(page + "\n", encoding="utf-8")
    return path


def _block(result: Reproduced, block: str) -> dict[str, Any]:
    return {
        "name": block,
        "tables": _written([our_table(result, block), *paper_tables(result, block)]),
    }


def _written(tables: Sequence[TextTable | None]) -> list[tuple[TextTable, Markup]]:
    return [(table, Markup(markdown_table(table))) for table in tables if table and table.rows]


def _fits(table: TextTable | None) -> bool:
    return table is not None and len(table.rows) <= _MOST_LINES


def _flat(values: Any, name: str = "") -> list[tuple[str, str]]:
    """Return a configuration as (name, value) lines, nested names joined by dots."""
    if isinstance(values, dict):
        return [line for key, value in values.items() for line in
                _flat(value, f"{name}.{key}" if name else str(key))]  # fmt: skip
    if isinstance(values, list):
        return [(name, ", ".join(str(value) for value in values))]
    return [(name, str(values))]


def _command(command: Any) -> str:
    if isinstance(command, list):
        return shlex.join(str(word) for word in command)
    return str(command) if command else ""


def _link(result: Reproduced, folder: Path) -> str:
    # Markdown ends a link at a bracket or a space, whatever the folder is called.
    return quote((result.folder / "report.md").relative_to(folder).as_posix())
