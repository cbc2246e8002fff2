"""`unfinished`: what a verb that goes fact by fact has done, kept until its folder is written."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brodmann.errors import InputError

WORK = "work.json"
"""In the folder of an unfinished run: what it works on."""


@contextmanager
def unfinished(out: Path, work: Mapping[str, Any], resume: bool, overwrite: bool) -> Iterator[Path]:
    """Yield a folder beside ``out`` to keep what is done in; it goes when the block ends well.

    A block that fails leaves it, to go on from, where there is something in it.

    Args:
        out: where the result will be.
        work: what decides the result, in JSON types.
        resume: go on with what the folder holds.
        overwrite: discard what it holds.

    Raises:
        InputError: there is one and neither to resume nor to overwrite it is asked for, or it is
            of other work.
    """
    from brodmann.storage import plain, read_json, write_json

    out = out.resolve()
    folder = out.with_name(f".{out.name}.unfinished")
    if _holds_work(folder) and not resume and not overwrite:
        raise InputError(
            f"{folder} holds an unfinished run. Write --resume to go on with it, or --overwrite "
            "to start anew."
        )
    if not resume or not _holds_work(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / WORK, work)
    elif read_json(folder / WORK) != plain(work):
        raise InputError(
            f"Expected an unfinished run of this model, data and options in {folder}; it is of "
            "another. Write --overwrite to start anew."
        )
    try:
        yield folder
    except BaseException:
        if not _holds_work(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _holds_work(folder: Path) -> bool:
    return (folder / WORK).exists() and any(path.name != WORK for path in folder.iterdir())
