"""`brodmann models`: the models that are at hand by name, and the families that can be opened."""

from typing import Annotated

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("models")(models_command)


def models_command(
    fetch: Annotated[
        list[str] | None,
        typer.Option("--fetch", help="Fetch a bundled model into the cache; may be repeated."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the bundled models, the cache and the supported families."""
    from brodmann.cli.output import note, print_json, print_table, print_text
    from brodmann.models.architectures import supported_families
    from brodmann.models.bundled import bundled_rows
    from brodmann.models.bundled import fetch as fetch_bundled

    for name in fetch or ():
        note(f"{name}: {fetch_bundled(name)}")
    if fetch and not as_json:
        return
    rows = bundled_rows()
    if as_json:
        print_json({"bundled": rows, "families": supported_families()})
        return
    columns = ("name", "about", "parameters", "licence", "quantisation", "cached")
    print_table(rows, title="Bundled models", columns=columns)
    print_text("Supported families: " + ", ".join(supported_families()))
