"""`brodmann edit`: write facts into a model by ROME, and measure what each edit did."""

from pathlib import Path
from typing import Annotated

import typer

from brodmann.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("edit")(edit_command)


def edit_command(
    model: options.ModelArgument,
    facts: Annotated[
        str,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Facts: CounterFact, zsRE, ParaRel, Known-1000, or rows of your own.",
            show_default=False,
        ),
    ],
    layer: Annotated[
        int, typer.Option("--layer", help="Whose down projection changes.", show_default=False)
    ],
    out: options.Out,
    fact: Annotated[
        str | None, typer.Option("--fact", metavar="ID", help="Only this fact of the file.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="The new answer of one fact (its target_new)."),
    ] = None,
    limit: options.Limit = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus",
            metavar="FILE",
            help="Text for the key covariance, or hub:ORG/NAME (the bundled neutral text).",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Tokens of it (100,000).")
    ] = None,
    covariance: Annotated[
        Path | None,
        typer.Option("--covariance", metavar="FILE", help="Saved ones, instead of --corpus."),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Steps of the search for the new value.")
    ] = 25,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Edit facts by ROME, each from the clean model, and score efficacy, paraphrase, neighbours.

    One fact (of the file, or by --fact) also gives an ordinary checkpoint with the edit in it.
    Several give their edits, and a table of scores with intervals, but no checkpoint.
    """
    from brodmann.cli.editing import EditRequest, run

    run(
        EditRequest(
            model=model, device=device, dtype=dtype, facts=facts, fact=fact, target=target,
            limit=limit, layer=layer, corpus=corpus, max_tokens=max_tokens,
            covariance=covariance, steps=steps, seed=seed, out=out, resume=resume,
            overwrite=overwrite, as_json=as_json,
        )
    )  # fmt: skip
