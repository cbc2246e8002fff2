"""Where the rows of a set come from: a local folder, the hub, or the samples that are shipped.

``source=`` names one. Without it a local folder is used where one is given (``dir=``, or the
environment variable BRODMANN_DATA), and the hub where none is.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from brodmann.data import hub
from brodmann.data.families.official_files import table
from brodmann.data.families.task_set import Files, Part, Reader, TaskSet
from brodmann.data.rows import Row
from brodmann.data.spec import DataSpec
from brodmann.errors import DataError, UnknownNameError

FOLDER_VARIABLE = "BRODMANN_DATA"
OPTIONS = {
    "dir": f"a folder with the set's files, or one for each set in it (default {FOLDER_VARIABLE})",
    "source": "folder|hub|sample (default: folder where dir= or its variable is given, else hub)",
}
"""Options that say where rows come from, each with one line of help."""

SOURCES = ("folder", "hub", "sample")
SAMPLES = Path(__file__).parent / "samples"

_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", "-*.parquet")


@dataclass(frozen=True)
class Source:
    """Raw rows of a set, read when they are asked for.

    Attributes:
        where: where they are, for errors.
        parts: a function for each part that is there.
    """

    where: str
    parts: Mapping[Part, Callable[[], list[Row]]]


def find_source(task: TaskSet, options: Mapping[str, str]) -> Source:
    """Return the source that the options of a spec ask for.

    Raises:
        UnknownNameError: when ``source=`` is not one.
        DataError: when it has no data of this set.
        InputError: when the hub's library is missing.
        RunError: when the hub cannot be reached.
    """
    folder = options.get("dir", os.environ.get(FOLDER_VARIABLE, ""))
    kind = options.get("source", "folder" if folder else "hub")
    if kind not in SOURCES:
        raise UnknownNameError("source", kind, SOURCES)
    if kind != "folder" and "dir" in options:
        raise DataError(f"Expected one of dir= and source={kind} for {task.name}; got both.")
    if kind == "hub":
        return _from_hub(task)
    if kind == "sample":
        return _from_samples(task)
    if not folder:
        raise DataError(
            f"Expected dir= or the environment variable {FOLDER_VARIABLE} with source=folder; "
            f"got neither for {task.name}."
        )
    return _from_folder(task, Path(folder).expanduser())


def _from_folder(task: TaskSet, root: Path) -> Source:
    if not root.is_dir():
        raise DataError(f"Expected a folder with the data of {task.name} at {root}; there is none.")
    layouts = (*task.files, _rows_of_the_hub(task))
    for folder in (*(root / name for name in (task.name, *task.folders)), root):
        for files in layouts:
            if found := files.found_in(folder):
                parts = {part: partial(_read, paths, files.read) for part, paths in found.items()}
                return Source(str(folder), parts)
    official = " or ".join(str(files) for files in task.files)
    raise DataError(
        f"Expected the data of {task.name} in {root}/{task.name} or {root}: {official} of the "
        "official release, or train and test as .jsonl, .json or .parquet; none of it is there."
    )


def _rows_of_the_hub(task: TaskSet) -> Files:
    """Return the layout of local files that hold the rows of the hub, or rows like them."""
    places = ("", "data/", *((f"{task.hub.config}/",) if task.hub.config else ()))

    def patterns(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            f"{place}{name}{suffix}" for name in names for place in places for suffix in _SUFFIXES
        )

    return Files(
        table,
        train=patterns(("train", *task.hub.train)),
        test=patterns((*task.hub.test, "test")),
        whole=patterns((task.name.replace("/", "_"),)),
    )


def _from_hub(task: TaskSet) -> Source:
    options = {"config": task.hub.config} if task.hub.config else {}
    spec = DataSpec(task.hub.name, "", options, "hub")
    there = hub.downloaded(spec)
    wanted: dict[Part, tuple[str, ...]] = {"train": task.hub.train, "test": task.hub.test}
    parts: dict[Part, Callable[[], list[Row]]] = {}
    for part, names in wanted.items():
        if held := [name for name in names if name in there]:
            parts[part] = partial(_hub_rows, there, held, spec)
    if not parts:
        raise DataError(
            f"Expected a split {' or '.join((*task.hub.train, *task.hub.test))} in {spec.head}; "
            f"it has {', '.join(there)}."
        )
    return Source(spec.head, parts)


def _hub_rows(there: Mapping[str, object], names: list[str], spec: DataSpec) -> list[Row]:
    return [row for name in names for row in hub.split_rows(there[name], name, spec)]


def _from_samples(task: TaskSet) -> Source:
    path = SAMPLES / f"{task.name.replace('/', '-')}.jsonl"
    rows = table(path)
    parts: dict[Part, Callable[[], list[Row]]] = {}
    for part in ("train", "test"):
        parts[part] = partial(list, [row for row in rows if row.values["split"] == part])
    return Source(f"the sample rows of {task.name}", parts)


def _read(paths: list[Path], read: Reader) -> list[Row]:
    return [row for path in paths for row in read(path)]
