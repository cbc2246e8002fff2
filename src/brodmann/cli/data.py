"""`brodmann data`: what a data spec means; its rows in a file; which sets there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from brodmann.cli import options

if TYPE_CHECKING:
    from brodmann.data import Description, Example

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
    check_gold: Annotated[
        bool,
        typer.Option("--check-gold", help="Run the tests of programs on the set's own answers."),
    ] = False,
    allow_code_execution: options.AllowCodeExecution = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what a data spec means: counts and samples. With --out, write its examples.

    With --check-gold, say which of its own answers pass their tests: the others cannot be scored.
    """
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
    gold = (
        _gold(load_examples(parsed, limit=limit, seed=seed), allow_code_execution)
        if check_gold
        else None
    )
    if as_json:
        print_json(
            {
                "spec": description.spec,
                "splits": description.splits,
                "samples": description.samples,
            }
            | ({} if gold is None else {"gold": gold})
        )
    else:
        _print(description)
        _print_gold(gold or [])


def _gold(examples: "list[Example]", allowed: bool) -> list[dict[str, Any]]:
    """Run the tests of all examples that have some on their own answers."""
    from brodmann.errors import InputError
    from brodmann.evaluate.code import check_may_run, gold_rows

    tested = [example for example in examples if "code" in example.meta]
    if not tested:
        raise InputError(
            "Expected examples with tests for --check-gold; these have none. Write it with a set "
            "whose scorer is code: humaneval, mbpp, apps."
        )
    check_may_run(tested, allowed)
    return gold_rows(tested)


def _print_gold(rows: list[dict[str, Any]]) -> None:
    from brodmann.cli.output import print_table, print_text

    if rows:
        passed = sum(row["gold_passes"] for row in rows)
        print_text(f"{passed} of {len(rows)} of the set's own answers pass their tests.")
    failed = [row for row in rows if not row["gold_passes"]]
    if failed:
        print_table(failed, columns=("index", "status", "stderr"), title="Those that do not")


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
