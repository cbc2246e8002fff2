"""`brodmann verify`: prove that the neurons of a model are where its architecture row says."""

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("verify")(verify_command)


def verify_command(
    model: options.ModelArgument,
    device: options.Device = None,
    dtype: options.Dtype = None,
    as_json: options.AsJson = False,
) -> None:
    """Prove that a model's neurons are where its architecture row says.

    The neurons' outputs must reproduce what the MLP writes, zeroing a neuron must equal zeroing
    its column, and observing must not change the logits. Exits with 1 when a check fails.
    """
    from brodmann.cli.output import print_json, print_table, print_text
    from brodmann.models.load import open_unchecked
    from brodmann.models.selfcheck import verify

    opened = open_unchecked(model, dtype, device)
    result = verify(opened)
    rows = [
        {
            "check": row.check,
            "result": "ok" if row.passed else "FAILED",
            "error": row.error,
            "limit": row.limit,
        }
        for row in result.rows
    ]
    if as_json:
        print_json({"model": opened.name, "passed": result.passed, "rows": rows})
    else:
        print_table(rows, title=f"{opened.name}: architecture row {opened.architecture.name}")
        print_text("all checks passed" if result.passed else "some checks FAILED")
    if not result.passed:
        raise typer.Exit(1)
