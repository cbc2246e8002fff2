"""What the methods of single facts share: the facts that the model knows, and how to go on."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brodmann.cli.locate_request import Request
from brodmann.errors import DataError, InputError
from brodmann.launch import process_count

if TYPE_CHECKING:
    from brodmann.data import Fact
    from brodmann.models import LanguageModel

OPTIONS = ("unknown_too",)
"""Options that all methods of facts have."""

WORK = "work.json"
"""In the folder of an unfinished run: what it works on."""


def read(request: Request) -> "list[Fact]":
    """Load the facts; they are not split.

    Raises:
        InputError: several processes, which would all do the same.
        DataError: facts that cannot be used.
    """
    from brodmann.data import load_facts

    if process_count() > 1:
        raise InputError(
            f"Expected one process for method '{request.method}'; the launcher started "
            f"{process_count()}. Write the command without the launcher."
        )
    return load_facts(request.one_data(), limit=request.limit, seed=request.seed)


def known(
    request: Request, model: "LanguageModel", facts: "Sequence[Fact]"
) -> "tuple[list[Fact], list[dict[str, Any]]]":
    """The facts to look at (those that the model answers, unless all are), and a row for each.

    Raises:
        DataError: the model answers none of them.
    """
    from brodmann.evaluate import known_facts

    found = known_facts(model, facts)
    if request.settings.get("unknown_too"):
        return list(facts), found.rows
    if not found.known:
        raise DataError(
            f"Expected facts that '{model.name}' answers by itself; it answers none of "
            f"{len(facts)}. Give others, or write --unknown-too."
        )
    return found.known, found.rows


def told_of_facts(rows: Sequence[Mapping[str, Any]], used: int) -> str:
    """One line for people: how many facts the model knows, and how many were looked at."""
    known_ones = sum(bool(row["known"]) for row in rows)
    return f"{used} facts looked at; the model answers {known_ones} of {len(rows)} by itself"


@contextmanager
def unfinished(request: Request, work: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a folder beside ``out`` to keep what is done in; it goes when the block ends well.

    A block that fails leaves it, to go on from, where there is something in it.

    Raises:
        InputError: there is one and neither to resume nor to overwrite it is asked for, or it is
            of other work.
    """
    from brodmann.storage import plain, read_json, write_json

    out = request.out.resolve()
    folder = out.with_name(f".{out.name}.unfinished")
    if _holds_work(folder) and not request.resume and not request.overwrite:
        raise InputError(
            f"{folder} holds an unfinished run. Write --resume to go on with it, or --overwrite "
            "to start anew."
        )
    if not request.resume or not _holds_work(folder):
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


def work_of(request: Request, model: "LanguageModel", facts: "Sequence[Fact]") -> dict[str, Any]:
    """What decides the results, in JSON types: an unfinished run of other work is refused."""
    return {
        "method": request.method,
        "fingerprint": model.fingerprint,
        "dtype": str(model.dtype),
        "settings": request.settings,
        "seed": request.seed,
        "facts": [[fact.id, fact.prompt, fact.delimiter, fact.answer] for fact in facts],
    }
