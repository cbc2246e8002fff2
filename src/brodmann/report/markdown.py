"""``report.md``: the whole map as one page of Markdown."""

import html
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from brodmann.experiments.map_verdict import CLAIMS
from brodmann.report.results import RULES, Results, variant_words
from brodmann.report.tables import TextTable, all_tables, long_tables

# What could begin or end something: marks inside a word and lone brackets cannot.
_SPECIAL = re.compile(r"([\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^#)")


def write_markdown(results: Results, figures: list[tuple[str, str]]) -> Path:
    """Write ``report.md`` into the folder.

    Args:
        results: the map.
        figures: (path relative to the folder, what it shows) of each picture.
    """
    page = render_page(
        "map.md.j2",
        run=results.run,
        config=results.run["config"],
        tables=[
            (table, Markup(markdown_table(table)))
            for table in [*all_tables(results), *long_tables(results)]
        ],
        sentences=results.sentences,
        claims=CLAIMS,
        verdicts=_by_set(results),
        data=results.tables["data"],
        tests=results.tables["tests"],
        figures=figures,
        variant_words=variant_words,
    )
    path = results.folder / "report.md"
    path.write_text(page, encoding="utf-8")
    return path


def render_page(template: str, **values: Any) -> str:
    """Fill in a template of this folder; all that is filled in is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["text"] = markdown_text
    environment.filters["code"] = _code
    source = files("brodmann.report").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values)


def markdown_text(value: object) -> Markup:
    """Escape text for Markdown (and the HTML in it): words of a model or a file do nothing."""
    one_line = " ".join(str(value).split())
    return Markup(_SPECIAL.sub(r"\\\1", html.escape(one_line, quote=False)))


def _code(value: object) -> Markup:
    """Let text stand between fences: one line of it, that cannot end them."""
    return Markup(" ".join(str(value).split()).replace("```", "` ` `"))


def markdown_table(table: TextTable) -> str:
    """Return a Markdown table."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    escaped = [
        lines[1] if index == 1 else [markdown_text(cell) for cell in line]
        for index, line in enumerate(lines)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _by_set(results: Results) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in results.tables["verdict"]:
        name = f"{row['capability']}, {RULES.get(row['rule'], row['rule'])}"
        name += f", {variant_words(row['variant'])}"
        found.setdefault(row["set"], {"name": name, "rows": []})["rows"].append(row)
    return list(found.values())
