"""`brodmann tune`: train the located neurons, or a baseline, and measure what that changed."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from brodmann.cli import options

_METHODS = "neurons, or a baseline: random, without, full, lora, olora, neft, super."
_WITHOUT = "without: leave located neurons as they are (the default; dcsn.txt), or at 0 (cnl.txt)."


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("tune")(tune_command)


def tune_command(
    model: options.ModelArgument,
    data: options.Data,
    out: options.Out,
    neurons: Annotated[
        list[str] | None,
        typer.Option("--neurons", metavar="SET[,SET...]", help="Located sets; they are united."),
    ] = None,
    method: Annotated[str, typer.Option("--method", help=_METHODS)] = "neurons",
    transfer: Annotated[
        list[str] | None,
        typer.Option("--transfer", metavar="SPEC", help="Measure this too; may be repeated."),
    ] = None,
    limit: options.Limit = None,
    test_items: Annotated[
        int, typer.Option("--test-items", min=0, help="Measured of each spec, at most; 0: none.")
    ] = 100,
    epochs: Annotated[float, typer.Option("--epochs", help="Passes over the data.")] = 1,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Steps in all, instead of --epochs.")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate (1e-5 of all weights, 1e-3 of adapters)."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows of a step.")] = 8,
    accumulate: Annotated[
        int, typer.Option("--accumulate", min=1, help="Batches whose gradients make one step.")
    ] = 1,
    warmup: Annotated[
        float, typer.Option("--warmup", help="Share of the steps in which the rate rises.")
    ] = 0.1,
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], typer.Option("--schedule", help="Of the rate.")
    ] = "constant",
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="AdamW's.")] = 0.0,
    held_out: Annotated[
        int | None,
        typer.Option("--held-out", min=1, help="Examples kept back to watch the loss on."),
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option("--eval-every", min=1, help="Steps between looks at that loss.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=1, help="Stop after so many looks without a better one."),
    ] = None,
    save_every: Annotated[
        int | None, typer.Option("--save-every", min=1, help="Steps between checkpoints.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    report_to: Annotated[
        list[str] | None, typer.Option("--report-to", help="tensorboard, wandb, trackio, ...")
    ] = None,
    end_of_text: Annotated[
        bool,
        typer.Option(
            "--end-of-text/--no-end-of-text",
            help="Learn to stop behind the answer, too, or the answer alone.",
        ),
    ] = True,
    chat_template: Annotated[
        Literal["off", "auto"], typer.Option("--chat-template", help="auto: the user's turn.")
    ] = "off",
    without: Annotated[
        Literal["freeze_located", "erase_then_tune_rest"] | None,
        typer.Option("--without", help=_WITHOUT),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Of lora and olora (8).")
    ] = None,
    after: Annotated[
        list[Path] | None,
        typer.Option("--after", metavar="DIR", help="olora: an earlier task's adapter."),
    ] = None,
    biases: Annotated[
        bool | None,
        typer.Option("--biases/--no-biases", help="Train the neurons' own biases (yes)."),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option("--export", help="merged: a checkpoint beside it; lora: the LoRA form."),
    ] = None,
    allow_code_execution: options.AllowCodeExecution = False,
    force: options.Force = False,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Train the neurons of a set and nothing else, on the answers of some data.

    The folder is a PEFT adapter with a card (for full and without: a checkpoint). The test part of
    the data, and of each --transfer, is answered before and after: did it fit, does it generalise?
    """
    from brodmann.cli.tuning import Request, run

    settings = {
        "lr": lr, "epochs": epochs, "max_steps": max_steps, "batch_size": batch_size,
        "accumulate": accumulate, "warmup_ratio": warmup, "schedule": schedule,
        "weight_decay": weight_decay, "eval_every": eval_every, "patience": patience,
        "save_every": save_every, "gradient_checkpointing": gradient_checkpointing,
        "report_to": tuple(report_to or ()), "seed": seed, "resume": resume,
    }  # fmt: skip
    request = Request(
        model=model, device=device, dtype=dtype, data=data, others=tuple(transfer or ()),
        neurons=tuple(neurons or ()), method=method, limit=limit, held_out=held_out,
        test_items=test_items, end_of_text=end_of_text, chat_template=chat_template,
        without=without, rank=rank, after=tuple(after or ()), biases=biases,
        export=tuple(export or ()), allow_code_execution=allow_code_execution, force=force,
        settings=settings,
    )  # fmt: skip
    run(request, out, resume=resume, overwrite=overwrite, as_json=as_json)
