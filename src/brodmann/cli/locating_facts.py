"""What the methods of single facts share: the facts that the model knows, and what they decide."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from brodmann.cli.locate_request import Request
from brodmann.errors import DataError, InputError
from brodmann.launch import process_count

if TYPE_CHECKING:
    from brodmann.data import Fact
    from brodmann.models import LanguageModel

OPTIONS = ("unknown_too",)
"""Options that all methods of facts have."""


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
