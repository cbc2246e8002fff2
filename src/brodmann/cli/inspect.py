"""`brodmann inspect`: what each neuron of a set writes, and what makes it fire."""

from typing import Annotated, Any

import typer

from brodmann.cli import options

PROMPT_SHOWN = 40


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("inspect")(inspect_command)


def inspect_command(
    neurons: options.SetArgument,
    model: options.Model,
    data: Annotated[
        str | None, typer.Option("--data", help="Also show which of these examples fire it most.")
    ] = None,
    split: options.Split = "all",
    limit: options.Limit = None,
    top: Annotated[int, typer.Option("--top", min=1, help="The K strongest neurons.")] = 20,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="How many tokens to name.")] = 10,
    force: options.Force = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Show the neurons of a set: score, sign, the tokens they promote and suppress.

    A neuron promotes these tokens where its activation is positive, and does the opposite where it
    is negative. With --data, the examples that make it fire most stand below.
    """
    from brodmann.cli.opening import open_model, parse_batch_size
    from brodmann.cli.output import print_json
    from brodmann.data import load_examples
    from brodmann.localize.inspection import inspect_neurons
    from brodmann.neurons import NeuronScores, NeuronSet
    from brodmann.neurons.scores import FILE

    size = parse_batch_size(batch_size)
    chosen = NeuronSet.load(neurons)
    scores = NeuronScores.load(neurons) if (neurons / FILE).exists() else None
    examples = load_examples(data, split=split, limit=limit, seed=seed) if data else []
    opened = open_model(model, device, dtype)
    rows = inspect_neurons(
        opened, chosen, scores, examples, top=top, n_tokens=tokens, batch_size=size, force=force
    )
    if as_json:
        print_json(rows)
    else:
        _print(rows, len(chosen))


def _print(rows: list[dict[str, Any]], total: int) -> None:
    from brodmann.cli.output import print_table, print_text

    table = [
        {
            "layer": row["layer"],
            "neuron": row["neuron"],
            "score": _with_error(row),
            "sign": row["sign"],
            "promotes": [repr(token) for token in row["promotes"]],
            "suppresses": [repr(token) for token in row["suppresses"]],
        }
        for row in rows
    ]
    print_table(table, title=f"{len(rows)} of {total:,} neurons")
    for row in rows:
        for example in row.get("examples", ()):
            prompt = example["prompt"]
            shown = prompt if len(prompt) <= PROMPT_SHOWN else "…" + prompt[-PROMPT_SHOWN:]
            print_text(
                f"({row['layer']}, {row['neuron']}) at {example['activation']:+.3g}: "
                f"{shown!r} → {example['answer']!r}"
            )


def _with_error(row: dict[str, Any]) -> str:
    if row["score"] is None:
        return "–"
    return f"{row['score']:+.3g} ± {row['standard_error']:.1g}"
