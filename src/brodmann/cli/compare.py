"""`brodmann compare`: how alike sets of neurons are, beside what chance would give."""

from pathlib import Path
from typing import Annotated

import typer

from brodmann.cli import options
from brodmann.errors import InputError


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("compare")(compare_command)


def compare_command(
    sets: Annotated[
        list[Path], typer.Argument(metavar="SET...", help="Two or more folders with sets.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Compare sets pair by pair: overlap, IoU and the larger set's share, with chance levels.

    Where both folders hold scores, their rank correlation over all neurons is shown too.
    """
    from brodmann.cli.output import print_json, print_table
    from brodmann.neurons import NeuronScores, NeuronSet
    from brodmann.neurons.comparison import comparison_rows
    from brodmann.neurons.scores import FILE

    if len(sets) < 2:
        raise InputError(f"Expected two or more sets to compare; got {len(sets)}. Name another.")
    loaded = [(str(folder), NeuronSet.load(folder)) for folder in sets]
    scores = {str(folder): NeuronScores.load(folder) for folder in sets if (folder / FILE).exists()}
    rows = comparison_rows(loaded, scores)
    if as_json:
        print_json(rows)
    else:
        print_table(rows)
