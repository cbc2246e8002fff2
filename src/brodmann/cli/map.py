"""`brodmann map`: the whole story of a model's capabilities, with controls and a verdict."""

from typing import Annotated, Any

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("map")(map_command)


def map_command(
    model: options.ModelArgument,
    out: options.Out,
    capabilities: Annotated[
        str,
        typer.Option("--capabilities", help="A family, or NAME=SPEC,NAME=SPEC of your own data."),
    ] = "arithmetic",
    method: Annotated[str, typer.Option("--method", help="How neurons are scored.")] = "dcsn",
    preset: Annotated[
        str, typer.Option("--preset", help="demo: small, minutes; full: for claims.")
    ] = "demo",
    neutral: Annotated[
        str | None,
        typer.Option("--neutral", help="Data spec of texts that must stay readable."),
    ] = None,
    allow_code_execution: options.AllowCodeExecution = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw the capability map of a model.

    Locates each capability on two samples, compares the sets, erases them beside matched random
    sets, and says in words what the numbers support. Writes a folder with a report.
    """
    from brodmann.cli.opening import open_model, parse_batch_size
    from brodmann.cli.output import note, print_json
    from brodmann.experiments import preset as preset_named
    from brodmann.experiments import run_map
    from brodmann.localize import METHODS
    from brodmann.report import print_tables, report_folder
    from brodmann.storage import check_new_folder, read_json

    changes: dict[str, Any] = {"capabilities": capabilities, "method": method, "seed": seed}
    changes |= {"neutral": neutral, "allow_code_execution": allow_code_execution}
    config = preset_named(preset, **changes, batch_size=parse_batch_size(batch_size))
    METHODS.get(method)
    check_new_folder(out, overwrite)
    opened = open_model(model, device, dtype)
    folder = run_map(opened, config, out, overwrite=overwrite, resume=resume, finish=report_folder)
    if as_json:
        print_json(read_json(folder / "results.json"))
    else:
        print_tables(folder)
    note(f"wrote {folder}")
