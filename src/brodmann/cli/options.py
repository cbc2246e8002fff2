"""The options that several verbs share, each written once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

_MODEL_HELP = "A bundled name, a hub id, a folder or a .gguf file."
_DTYPES = Literal["float32", "bfloat16", "float16", "float64"]

Model = Annotated[str, typer.Option("--model", help=_MODEL_HELP, show_default=False)]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP)]
SetArgument = Annotated[
    Path, typer.Argument(metavar="SET", help="A folder with a set, or a folder of 'locate'.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="NAME[/PART][:key=value,...], a JSONL file, or hub:ORG/NAME.",
        show_default=False,
    ),
]
Split = Annotated[Literal["train", "test", "all"], typer.Option("--split", help="Which examples.")]
Limit = Annotated[
    int | None, typer.Option("--limit", help="Take the first N after a seeded shuffle.")
]
Out = Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The seed of all that is drawn.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, or auto to spread the layers.")
]
Dtype = Annotated[_DTYPES | None, typer.Option("--dtype", help="What to compute in.")]
BatchSize = Annotated[str, typer.Option("--batch-size", help="Sequences in a batch, or auto.")]
AllowCodeExecution = Annotated[
    bool,
    typer.Option(
        "--allow-code-execution",
        help="Score programs by running them, in a locked-down child process.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Use a set although it was made on another model.")
]
