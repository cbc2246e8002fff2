"""`brodmann data`: what a data spec means; its rows in a file; which sets there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from brodmann.cli import options

if TYPE_CHECKING:
    from brodmann.data import Description

COLUMNS = ("split", "rows", "expressions", "answers", "scorer", "chance", "majority", "operators")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("data")(data_command)


def data_command(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC",
            help="NAME[/PART][:key=value,...], a file, or hub:...; without it the sets are listed.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Literal["train", "test", "all"] | None,
        typer.Option("--split", help="Only this split; with --out, all by default."),
    ] = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    samples: Annotated[
        int, typer.Option("--samples", min=0, help="How many examples of each split to show.")
    ] = 3,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the examples to this JSONL file.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what a data spec means: counts and samples. With --out, write its examples."""
    if spec is None:
        _list_sets(out, as_json)
        return
    from brodmann.cli.output import note, print_json
    from brodmann.data import canonical_spec, describe, load_examples, write_examples

    parsed = canonical_spec(spec)
    if split is not None:
        parsed = parsed.with_defaults(split=split)
    if out is not None:
        write_examples(out, load_examples(parsed, limit=limit, seed=seed), overwrite)
        note(f"wrote {out}")
    description = describe(parsed, limit=limit, seed=seed, samples=samples)
    if as_json:
        print_json(
            {
                "spec": description.spec,
                "splits": description.splits,
                "samples": description.samples,
            }
        )
    else:
        _print(description)


def _list_sets(out: Path | None, as_json: bool) -> None:
    from brodmann.cli.output import print_json, print_table
    from brodmann.data import named_sets
    from brodmann.errors import InputError

    if out is not None:
        raise InputError("Expected a data spec with --out; got none. Write: data SPEC --out FILE.")
    rows = named_sets()
    if as_json:
        print_json({"sets": rows})
    else:
        print_table(rows, title="Data sets (NAME:dir=FOLDER, NAME:source=sample, or the hub)")


def _print(description: "Description") -> None:
    from brodmann.cli.output import print_table, print_text

    rows = [
        row | {"operators": ", ".join(f"{name} {n}" for name, n in row["operators"].items())}
        for row in description.splits
    ]
    columns = COLUMNS if any(row["operators"] for row in rows) else COLUMNS[:-1]
    print_table(rows, title=description.spec, columns=columns)
    for sample in description.samples:
        choices = f"   out of {', '.join(sample['choices'])}" if sample["choices"] else ""
        text = sample["prompt"] + sample["delimiter"]
        print_text(f"{sample['split']}: {text!r} → {sample['answer']!r}{choices}")
