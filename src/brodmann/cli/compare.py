"""`brodmann compare`: how alike sets of neurons are, and what erasing as many of each does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from brodmann.cli import options
from brodmann.errors import InputError

_MEASURES = {"accuracy": "accuracy", "margin": "margin, nats"}


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("compare")(compare_command)


def compare_command(
    sets: Annotated[
        list[Path], typer.Argument(metavar="SET...", help="Two or more folders with sets.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Erase as many neurons of each set in this model.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="What to ask meanwhile, a spec or a JSONL file.")
    ] = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Random sets beside each; 99 to claim a p.")
    ] = 20,
    allow_code_execution: options.AllowCodeExecution = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Compare sets pair by pair: overlap, IoU and the larger set's share, with chance levels.

    Where both folders hold scores, their rank correlation over all neurons is shown too.
    With --model and --data the strongest neurons of each set are erased, as many as the smallest
    set has, beside random sets with as many neurons in each layer.
    """
    from brodmann.cli.opening import open_model, parse_batch_size
    from brodmann.cli.output import print_json
    from brodmann.data import load_examples
    from brodmann.evaluate.equal_erasure import equal_erasure, equal_parts
    from brodmann.neurons.comparison import comparison_rows
    from brodmann.neurons.located import Located

    size = parse_batch_size(batch_size)
    _check(sets, model, data)
    loaded = [Located.load(folder) for folder in sets]
    named = [(one.name, one.neurons) for one in loaded]
    scores = {one.name: one.scores for one in loaded if one.scores is not None}
    rows = [one.row() for one in loaded]
    found: dict[str, Any] = {"sets": rows, "pairs": comparison_rows(named, scores)}
    if model is not None and data is not None:
        parts = equal_parts(named, scores)
        examples = load_examples(data, split=split, limit=limit, seed=seed)
        unedited, effects = equal_erasure(
            open_model(model, device, dtype), parts, examples,
            draws=draws, batch_size=size, allow_code_execution=allow_code_execution, seed=seed,
        )  # fmt: skip
        found["sets"] = [row | effect for row, effect in zip(rows, effects, strict=True)]
        found["unedited"] = unedited.to_dict()
    if as_json:
        print_json(found)
    else:
        _print(found)


def _check(sets: Sequence[Path], model: str | None, data: str | None) -> None:
    if len(sets) < 2:
        raise InputError(f"Expected two or more sets to compare; got {len(sets)}. Name another.")
    if (model is None) != (data is None):
        given, missing = ("--data", "--model") if model is None else ("--model", "--data")
        raise InputError(
            f"Expected --model and --data together, to erase and ask; got {given} alone. "
            f"Write {missing} too."
        )


def _print(found: Mapping[str, Any]) -> None:
    from brodmann.cli.output import print_table

    columns = ("set", "method", "neurons", "samples", "seconds")
    print_table(found["sets"], title="Sets", columns=columns)
    if "unedited" in found:
        unedited, erased = found["unedited"], found["sets"][0]["erased"]
        asked = f"{unedited['n']:,} examples, {unedited['n_independent']:,} independent"
        print_table(
            [_effect_row(row, name, unedited[name]) for row in found["sets"] for name in _MEASURES],
            title=f"The {erased:,} strongest neurons of each set erased: {asked}",
        )
    pairs = [{name.replace("_", " "): cell for name, cell in row.items()} for row in found["pairs"]]
    # Only pairs with scores have a rank correlation.
    columns = tuple(dict.fromkeys(name for row in pairs for name in row))
    print_table(pairs, title="Pairs", columns=columns)


def _effect_row(row: Mapping[str, Any], name: str, unedited: float) -> dict[str, Any]:
    change = f"d_{name}"
    return {
        "set": row["set"],
        "measure": _MEASURES[name],
        "unedited": unedited,
        "erased": row[name],
        "change": row[change],
        "95% interval": (row[f"{change}_low"], row[f"{change}_high"]),
        "random mean": row[f"random_{change}"],
        "random worst": row[f"random_{change}_worst"],
        "rank": f"{row[f'random_{change}_rank']} of {row['random_draws'] + 1}",
        "p": row[f"random_{change}_p"],
    }
