"""`reproduce`: run an experiment of a paper on a model, judge its claims, and write the result."""

import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brodmann.environment import environment, peak_device_memory_bytes, peak_memory_bytes
from brodmann.errors import InputError, UnknownNameError
from brodmann.experiments.claims import verdict_rows
from brodmann.experiments.code_sets import LEFT_OUT
from brodmann.experiments.experiment import PRESETS, Experiment, Tables
from brodmann.experiments.model_settings import model_settings
from brodmann.experiments.override import overridden
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import RESULTS_VERSION, Workbench
from brodmann.storage import check_new_folder, new_folder, plain, read_json, write_json, write_rows

CACHE = "cache"
"""The folder, in that of all results, with what several experiments share."""


def reproduce(
    experiment: Experiment,
    preset: str,
    bench: Workbench,
    out: Path,
    *,
    changes: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    finish: Callable[[Path], object] | None = None,
) -> Path:
    """Run an experiment on a model and write ``out/MODEL/ID``.

    The folder holds ``run.json``, ``results.json`` (the tables, the verdicts among them) and a
    parquet file for each table.

    Args:
        experiment: what to run.
        preset: its size, out of :data:`brodmann.experiments.experiment.PRESETS`.
        bench: the model, with its cache: an interrupted run goes on from there.
        out: the folder of all results.
        changes: of the preset's values, as :func:`brodmann.experiments.override.overridden`
            takes them.
        resume: keep a result that is there, if it is of the same model and values.
        overwrite: replace a result that is there.
        finish: called with the new folder before it takes its name.

    Raises:
        UnknownNameError: no such preset.
        InputError: the folder exists, and neither flag is given; or it holds something else.
    """
    config = config_of(experiment, preset, changes)
    folder = out / folder_name(bench.name) / experiment.id
    if resume and (folder / "run.json").exists():
        _check_same(folder, experiment, config, bench)
        return folder
    check_new_folder(folder, overwrite)
    start = time.perf_counter()
    bench.used.clear()
    say(f"{experiment.id} on {bench.name}, preset {preset}: {experiment.title}")
    tables = experiment.run(config, bench)
    tables["verdict"] = verdict_rows(experiment.judge(tables, config), experiment.claims)
    about = _about(experiment, preset, config) | _settings_of(bench)
    about |= {"changes": list(changes), "command": _command(experiment, preset, changes, bench)}
    about["data"] = _data(bench)
    about["wall_seconds"] = round(time.perf_counter() - start, 2)
    about["memory"] = {"host": peak_memory_bytes(), "device": peak_device_memory_bytes()}
    with new_folder(folder, overwrite) as new:
        _write(new, tables, about)
        if finish is not None:
            finish(new)
    return folder


def config_of(experiment: Experiment, preset: str, changes: Sequence[str] = ()) -> Any:
    """Return the values of a preset, some of them changed.

    Raises:
        UnknownNameError: no such preset, or no such value.
        InputError: a change that cannot be read.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    return overridden(experiment.presets[preset], changes)


def folder_name(model: str) -> str:
    """Return what the folder of a model's results is called."""
    return re.sub(r"[^\w.-]+", "-", model.strip("/")).strip("-.") or "model"


def _write(folder: Path, tables: Tables, about: dict[str, Any]) -> None:
    for name, rows in tables.items():
        if rows:
            write_rows(folder / f"{name}.parquet", [plain(row) for row in rows])
    write_json(folder / "results.json", tables)
    write_json(folder / "run.json", about)


def _command(experiment: Experiment, preset: str, changes: Sequence[str], bench: Workbench) -> str:
    words = ["brodmann", "reproduce", experiment.id, "--preset", preset, "--model", bench.name]
    words += [word for change in changes for word in ("--set", change)]
    words += ["--data-dir", "FOLDER"] if bench.data_dir is not None and experiment.needs else []
    words += ["--dtype", bench.dtype] if bench.dtype is not None else []
    words += ["--allow-code-execution"] if bench.allow_code_execution else []
    return shlex.join(words)


def _about(experiment: Experiment, preset: str, config: Any) -> dict[str, Any]:
    return {
        "experiment": experiment.id,
        "title": experiment.title,
        "paper": experiment.paper,
        "place": experiment.place,
        "preset": preset,
        "config": asdict(config),
        "environment": environment(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _settings_of(bench: Workbench) -> dict[str, Any]:
    """What a result's provenance says of the model, and of how things are measured."""
    return model_settings(bench.model) | {"reads": bench.reads, "version": RESULTS_VERSION}


def _check_same(folder: Path, experiment: Experiment, config: Any, bench: Workbench) -> None:
    """Refuse to pass off one result as another: other values, another model, other data."""
    run = read_json(folder / "run.json")
    wanted = {
        "experiment": experiment.id,
        "config": plain(asdict(config)),
    }
    settings = _settings_of(bench)
    wanted |= {name: settings[name] for name in ("fingerprint", "reads", "dtype", "version")}
    other = [name for name, value in wanted.items() if run.get(name) != value]
    if not other and _data_now(run, config, bench) != run["data"]:
        other = ["data"]
    if bench.allow_code_execution and _left_out(folder):
        other.append("allow_code_execution")
    if other:
        raise InputError(
            f"Expected this very experiment ({experiment.id}) in {folder}; it differs in "
            f"{', '.join(other)}. Write --overwrite, or give another --out."
        )
    if not (folder / "results.json").exists():
        raise InputError(
            f"Expected results.json beside run.json in {folder}; it is missing. Write --overwrite "
            "to run the experiment again."
        )


def _left_out(folder: Path) -> bool:
    """Whether tests were left out of a result because they would have run programs."""
    path = folder / "results.json"
    notes = read_json(path).get("notes", ()) if path.exists() else ()
    return any(row["note"] == LEFT_OUT for row in notes)


def _data_now(run: dict[str, Any], config: Any, bench: Workbench) -> list[dict[str, Any]]:
    """What a run tells of its data, as the same data are now."""
    bench.used.clear()
    for told in run["data"]:
        sample = Sample(**{key: value for key, value in told.items() if key != "sha256"})
        if sample.spec == getattr(config, "facts", None):
            bench.facts(sample.spec)
        else:
            bench.examples(sample)
    return _data(bench)


def _data(bench: Workbench) -> list[dict[str, Any]]:
    return [asdict(one) | {"sha256": digest} for one, digest in bench.used.items()]
