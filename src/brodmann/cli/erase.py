"""`brodmann erase`: a checkpoint without the neurons of a set."""

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("erase")(erase_command)


def erase_command(
    model: options.ModelArgument,
    neurons: options.SetArgument,
    out: options.Out,
    force: options.Force = False,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    dtype: options.Dtype = None,
    as_json: options.AsJson = False,
) -> None:
    """Write an ordinary checkpoint in which the neurons of a set are off."""
    from brodmann.cli.baking import bake_to_folder

    bake_to_folder(
        model, neurons, out, verb="erase", by=0.0, force=force, overwrite=overwrite,
        device=device, dtype=dtype, as_json=as_json,
    )  # fmt: skip
