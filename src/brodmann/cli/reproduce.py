"""`brodmann reproduce`: a table or figure of the papers, on any model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brodmann.cli import options
from brodmann.errors import InputError, RunError

if TYPE_CHECKING:
    from brodmann.experiments.experiment import Experiment


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("reproduce")(reproduce_command)


def reproduce_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="list|all|ID...",
            help="What there is; everything; or some of it.",
            show_default=False,
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model, or several; by default the preset's."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option("--preset", help="smoke: seconds; cpu: tens of minutes; paper: for GPUs."),
    ] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the preset, such as locating.sigma=3."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder of all results.")] = Path(
        "runs/reproduce"
    ),
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Folder with the public data sets; see docs/data.md."),
    ] = None,
    allow_code_execution: options.AllowCodeExecution = False,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Reproduce tables and figures of the papers: ours beside theirs, and what it means.

    Every result is a folder OUT/MODEL/ID with rows, verdict and report. What several experiments
    share is measured once and kept in OUT/cache, so that an interrupted run goes on with --resume.
    """
    from functools import partial

    from brodmann.cli.failures import failure_of
    from brodmann.cli.opening import parse_batch_size
    from brodmann.cli.output import note, print_json
    from brodmann.experiments.reproduce import CACHE, reproduce
    from brodmann.experiments.workbench import Workbench
    from brodmann.report import report_reproduced
    from brodmann.storage import read_json

    if what == ["list"]:
        _print_list(as_json)
        return
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"Expected a folder as --data-dir; there is none at {data_dir}.")
    open_bench = partial(
        Workbench,
        cache=out / CACHE,
        device=device,
        dtype=dtype,
        data_dir=data_dir,
        batch_size=parse_batch_size(batch_size),
        allow_code_execution=allow_code_execution,
    )
    run = partial(
        reproduce,
        changes=changes or (),
        resume=resume,
        overwrite=overwrite,
        finish=report_reproduced,
    )
    done, failed = list[Path](), list[str]()
    for name, experiments in _by_model(what, preset, model, changes or ()).items():
        bench = open_bench(name)
        for experiment in experiments:
            try:
                done.append(run(experiment, preset, bench, out))
            except Exception as error:
                # One that cannot be run must not cost the others, whatever is the matter with it.
                if what != ["all"]:
                    raise
                failed.append(f"{experiment.id} on {name}: {failure_of(error).message}")
                note(f"error: {failed[-1]}")
                bench.close()
            else:
                _tell(done[-1], as_json)
    if as_json:
        print_json([{"folder": one, **read_json(one / "results.json")} for one in done])
    if failed:
        raise RunError(f"{len(failed)} of the experiments could not be run; see above.")


def _print_list(as_json: bool) -> None:
    from brodmann.cli.output import print_json, print_table
    from brodmann.experiments.catalogue import catalogue_rows

    rows = catalogue_rows()
    if as_json:
        print_json(rows)
    else:
        print_table(rows, columns=("id", "status", "shows", "cost", "needs"))


def _by_model(
    what: Sequence[str], preset: str, models: Sequence[str] | None, changes: Sequence[str]
) -> "dict[str, list[Experiment]]":
    """Return which experiments to run on which model."""
    from brodmann.experiments.catalogue import find_experiment, load_experiments
    from brodmann.experiments.reproduce import config_of

    names = list(load_experiments()) if list(what) == ["all"] else what
    found: dict[str, list[Experiment]] = {}
    for experiment in map(find_experiment, names):
        config_of(experiment, preset, changes)
        for model in models or experiment.models[preset]:
            found.setdefault(model, []).append(experiment)
    return found


def _tell(folder: Path, as_json: bool) -> None:
    from brodmann.cli.output import note
    from brodmann.report import print_reproduced

    if not as_json:
        print_reproduced(folder)
    note(f"wrote {folder}")
