"""`brodmann evaluate`: how well a model answers, as it is or with a set erased."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from brodmann.cli import options
from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.evaluate import Evaluation


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    model: options.Model,
    data: options.Data,
    split: options.Split = "test",
    limit: options.Limit = None,
    erase: Annotated[
        Path | None, typer.Option("--erase", metavar="SET", help="Erase this set meanwhile.")
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="DIR", help="With this adapter, beside the base model."),
    ] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option("--transfer", metavar="SPEC", help="--adapter: measure this too; repeatable."),
    ] = None,
    scorer: Annotated[
        str, typer.Option("--scorer", help="integer, number, choice, text, code, or auto.")
    ] = "auto",
    chat_template: Annotated[
        Literal["off", "auto"], typer.Option("--chat-template", help="auto: the user's turn.")
    ] = "off",
    allow_code_execution: options.AllowCodeExecution = False,
    force: options.Force = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Measure how well a model answers, as it is, with neurons erased, or with an adapter.

    One set proves little: 'brodmann map' shows each effect beside matched random sets. An adapter
    (of 'brodmann tune', or any of PEFT's) is shown beside the base model.
    """
    from brodmann.cli.adapting import evaluate_adapter
    from brodmann.cli.opening import open_model, parse_batch_size
    from brodmann.cli.output import print_json
    from brodmann.data import load_examples
    from brodmann.evaluate import evaluate
    from brodmann.interventions import erased
    from brodmann.neurons import NeuronSet

    how: dict[str, Any] = {
        "scorer": scorer,
        "chat_template": chat_template,
        "batch_size": parse_batch_size(batch_size),
        "allow_code_execution": allow_code_execution,
    }
    neurons = NeuronSet.load(erase) if erase else None
    if adapter is not None:
        evaluate_adapter(
            open_model(model, device, dtype), adapter, (data, *(transfer or ())), split=split,
            limit=limit, seed=seed, neurons=neurons, how=how, force=force, as_json=as_json,
        )  # fmt: skip
        return
    if transfer:
        raise InputError("Expected --transfer with --adapter only. Write --data for one spec.")
    examples = load_examples(data, split=split, limit=limit, seed=seed)
    opened = open_model(model, device, dtype)
    with erased(opened, neurons, force=force) if neurons is not None else nullcontext():
        result = evaluate(opened, examples, **how)
    if as_json:
        count = None if neurons is None else len(neurons)
        print_json({**result.to_dict(), "erased_neurons": count, "rows": list(result.rows)})
    else:
        _print(result, data if neurons is None else f"{data}, {len(neurons):,} neurons erased")


def _print(result: "Evaluation", title: str) -> None:
    from brodmann.cli.output import print_table

    rows = [
        {"measure": "accuracy", "value": result.accuracy, "95% interval": result.interval},
        {"measure": "chance", "value": result.chance},
        {"measure": "commonest answer always", "value": result.majority},
        {
            "measure": "log-probability margin (nats)",
            "value": result.margin,
            "95% interval": result.margin_interval,
        },
        {"measure": "outputs that parse", "value": result.format_rate},
    ]
    if result.macro_f1 is not None:
        rows.append({"measure": "macro-F1", "value": result.macro_f1})
    if result.letter_accuracy is not None:
        rows.append({"measure": "accuracy of the letter", "value": result.letter_accuracy})
    examples = f"{result.n:,} examples, {result.n_independent:,} independent"
    print_table(rows, title=f"{title}: {examples}", columns=("measure", "value", "95% interval"))
