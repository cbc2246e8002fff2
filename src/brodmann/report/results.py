"""`Results`: what an experiment saved, read back; nothing here knows a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brodmann.errors import InputError
from brodmann.storage import read_json

Row = Mapping[str, Any]

RULES = {"raw": "raw", "contrast": "contrastive"}
"""How the two kinds of sets are called."""


@dataclass(frozen=True)
class Results:
    """A result folder of a map.

    Attributes:
        folder: where it is.
        run: provenance (``run.json``).
        tables: rows by table name (``results.json``).
    """

    folder: Path
    run: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]]

    @property
    def capabilities(self) -> list[str]:
        """The capabilities, in order."""
        return [row["capability"] for row in self.tables["base"]]

    @property
    def variants(self) -> list[str]:
        """What sets were located on, the main one first."""
        return list(dict.fromkeys(row["variant"] for row in self.tables["sets"]))

    @property
    def erased_variants(self) -> list[str]:
        """Those whose sets were erased."""
        return list(dict.fromkeys(row["variant"] for row in self.tables["erasure"]))

    @property
    def sentences(self) -> list[str]:
        """The verdict in plain words."""
        return [row["sentence"] for row in self.tables["summary"]]

    def rows(self, table: str, **cells: Any) -> list[Row]:
        """Return the rows of a table whose cells are as given."""
        found = self.tables.get(table, ())
        return [row for row in found if all(row.get(k) == v for k, v in cells.items())]

    def row(self, table: str, **cells: Any) -> Row | None:
        """Return the first such row, or None."""
        return next(iter(self.rows(table, **cells)), None)


def load_results(folder: str | Path) -> Results:
    """Read a result folder.

    Raises:
        InputError: when the folder is missing, or holds something else.
    """
    folder = Path(folder)
    run = read_json(folder / "run.json")
    if not isinstance(run, Mapping) or run.get("experiment") != "map":
        raise InputError(f"Expected a folder made by 'brodmann map'; {folder} holds other results.")
    return Results(folder, run, read_json(folder / "results.json"))


def variant_words(variant: str) -> str:
    """Return what a variant is called."""
    known = {"free": "free answers", "matched": "matched answers"}
    return known.get(variant, f"view '{variant}'")
