"""`brodmann scale`: a checkpoint in which the neurons of a set are turned up or down."""

from typing import Annotated

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("scale")(scale_command)


def scale_command(
    model: options.ModelArgument,
    neurons: options.SetArgument,
    by: Annotated[
        float, typer.Option("--by", help="0 erases, 2 doubles, -1 turns over.", show_default=False)
    ],
    out: options.Out,
    force: options.Force = False,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    dtype: options.Dtype = None,
    as_json: options.AsJson = False,
) -> None:
    """Write an ordinary checkpoint in which the neurons of a set are multiplied by a factor."""
    from brodmann.cli.baking import bake_to_folder

    bake_to_folder(
        model, neurons, out, verb="scale", by=by, force=force, overwrite=overwrite,
        device=device, dtype=dtype, as_json=as_json,
    )  # fmt: skip
