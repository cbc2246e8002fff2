"""`brodmann`: one verb per file, one line per error, an exit code that means something.

0 is success, 1 a failure, 2 the caller's mistake, 130 an interruption. The files of the verbs
import the heavy packages inside their functions, so help and mistakes are answered at once.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer
from typer.exceptions import TyperException

from brodmann.cli import (
    compare,
    data,
    edit,
    erase,
    evaluate,
    inspect,
    locate,
    map,
    models,
    report,
    reproduce,
    scale,
    tune,
    verify,
)
from brodmann.cli.failures import Failure, failure_of
from brodmann.cli.processes import check_verb, first_to_fail, leave
from brodmann.launch import process_number

app = typer.Typer(
    name="brodmann",
    help="The map of a language model's capabilities: which neurons carry what, and the proof.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # [/PART] in a help text is no markup
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    map, locate, inspect, evaluate, compare, tune, erase, scale, edit, reproduce, report, data,
    models, verify,
):  # fmt: skip
    verb.add_to(app)


@app.callback()
def common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    """Take the options in front of the verb; `run` has acted on both before."""


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows ``brodmann``; ``--debug`` may stand anywhere in it.
    """
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    if words == ["--version"]:
        return _print_version()
    if not debug:
        _quieten_other_packages()
    try:
        check_verb(words)
        code = app(words, prog_name="brodmann", standalone_mode=False)
        leave()
    except (Exception, KeyboardInterrupt) as error:
        if debug and not isinstance(error, TyperException):
            raise
        return _report(failure_of(error))
    if code == Failure.INTERRUPTED:  # typer turns the interruption into a code
        return _report(failure_of(KeyboardInterrupt()))
    return code if isinstance(code, int) else 0


def _print_version() -> int:
    import brodmann

    print(f"brodmann {brodmann.__version__}")
    return 0


def _report(failure: Failure) -> int:
    if failure.message and first_to_fail():
        print(f"error: {failure.message}", file=sys.stderr)
    return failure.exit_code


def _quieten_other_packages() -> None:
    """Keep stderr to our own lines: errors, warnings and progress."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty() or process_number() > 0:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if process_number() == 0 and category.__module__.partition(".")[0] == "brodmann":
            print(f"warning: {message}", file=sys.stderr)

    warnings.showwarning = show
