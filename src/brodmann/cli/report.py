"""`brodmann report`: tables and figures of saved results."""

from pathlib import Path
from typing import Annotated

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("report")(report_command)


def report_command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A result of map or reproduce, or a folder of them."),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Write the report of saved results: Markdown, CSV, LaTeX and figures, ours beside theirs.

    Reads rows only, never a model; an older report is replaced.
    """
    from brodmann.cli.output import note, print_json
    from brodmann.report import report_any

    path = report_any(folder)
    if as_json:
        print_json({"report": path})
    note(f"wrote {path}")
