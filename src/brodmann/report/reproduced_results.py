"""`Reproduced`: what `brodmann reproduce` saved of one table or figure, read back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brodmann.errors import InputError
from brodmann.experiments.published import Published, PublishedCell, published_experiments
from brodmann.report.results import Row
from brodmann.storage import read_json

DEEPEST = 3
"""How many folders down results are looked for."""

FRACTIONS = ("accuracy", "share", "change", "rate")
"""Units of ours that the papers print as percentages."""

_PLACE = ("block", "row", "column")
_PAPERS = {
    "dcsn": "Combination Generalization of Capability-Specific Neurons in LLMs",
    "cnl": "Capability Localization: Capabilities Can be Localized "
    "Rather Than Individual Knowledge",
}


@dataclass(frozen=True)
class Reproduced:
    """A result folder of one table or figure.

    Attributes:
        folder: where it is.
        run: provenance (``run.json``).
        tables: rows by table name (``results.json``).
        printed: what the paper prints, or None where it is not known.
    """

    folder: Path
    run: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]]
    printed: Published | None

    @property
    def id(self) -> str:
        """The experiment."""
        return self.run["experiment"]

    @property
    def model(self) -> str:
        """The model it ran on."""
        return str(self.run.get("model", "unknown model"))

    @property
    def place(self) -> str:
        """Where it stands in its paper."""
        return str(self.run.get("place", self.id))

    @property
    def title(self) -> str:
        """What it shows."""
        return str(self.run.get("title", ""))

    @property
    def paper(self) -> str:
        """The title of its paper."""
        name = str(self.run.get("paper", ""))
        return _PAPERS.get(name, name)

    @property
    def verdict(self) -> Sequence[Row]:
        """What is concluded of each claim."""
        return self.tables.get("verdict", ())

    @property
    def blocks(self) -> list[str]:
        """The parts of the table, the paper's first; with those of controls alone."""
        return _merged(self._printed_cells(), self.cells(), "block")

    @property
    def paper_blocks(self) -> list[str]:
        """Those that the paper has; all where it has none of ours."""
        ours = _merged(self._printed_cells(), self.cells(extra=False), "block")
        return ours or self.blocks

    @property
    def paper_models(self) -> list[str]:
        """The models of the paper's numbers."""
        return self.printed.models if self.printed else []

    def cells(self, block: str | None = None, *, extra: bool | None = None) -> list[Row]:
        """Return our cells, of one block if named, with or without those the paper lacks."""
        found = self.tables["cells"]
        if block is not None:
            found = [cell for cell in found if str(cell["block"]) == block]
        return [cell for cell in found if extra is None or bool(cell.get("extra")) == extra]

    def paper_cells(self, block: str, model: str | None = None) -> list[PublishedCell]:
        """Return the paper's cells of a block, of one model if named."""
        return [
            cell
            for cell in self._printed_cells()
            if cell.block == block and model in (None, cell.model)
        ]

    def names(self, axis: str, block: str, *, extra: bool = False) -> list[str]:
        """Return the names of a block's rows or columns, in the paper's order, then ours.

        Args:
            axis: "row" or "column".
            block: which part.
            extra: of the cells that the paper lacks, and of no others.
        """
        printed = [] if extra else self.paper_cells(block)
        return _merged(printed, self.cells(block, extra=extra), axis)

    def paper_value(self, cell: PublishedCell, unit: str) -> float | None:
        """Return a number of the paper in our unit; None where the two cannot be compared."""
        if self.printed is None:
            return None
        if unit in FRACTIONS and self.printed.unit.startswith("percent"):
            return cell.value / 100
        return cell.value if unit == self.printed.unit else None

    def _printed_cells(self) -> Sequence[PublishedCell]:
        return self.printed.cells if self.printed else ()


def load_reproduced(folder: str | Path) -> Reproduced:
    """Read the result folder of one table or figure.

    Raises:
        InputError: when the folder is missing, holds something else, or cells without a place.
    """
    folder = Path(folder)
    run = read_json(folder / "run.json")
    if not is_reproduced(run):
        raise InputError(
            f"Expected a folder made by 'brodmann reproduce'; {folder} holds other results."
        )
    tables = read_json(folder / "results.json")
    if not isinstance(tables, Mapping) or not isinstance(tables.get("cells"), Sequence):
        raise InputError(f"Expected 'cells' in {folder / 'results.json'}; it has none.")
    for index, cell in enumerate(tables["cells"]):
        missing = [name for name in (*_PLACE, "value") if name not in cell]
        if missing:
            raise InputError(
                f"Expected {', '.join(missing)} in cell {index} of {folder / 'results.json'}; "
                "it has none. Run the experiment again."
            )
    return Reproduced(folder, run, tables, published_experiments().get(run["experiment"]))


def find_reproduced(folder: str | Path) -> list[Reproduced]:
    """Read all result folders in a folder, in the papers' order; its own when it is one.

    Raises:
        InputError: when there is none.
    """
    folder = Path(folder)
    if (folder / "run.json").exists():
        return [load_reproduced(folder)]
    found = [load_reproduced(one) for one in _candidates(folder) if is_reproduced(_run_of(one))]
    if not found:
        raise InputError(
            f"Expected a folder made by 'brodmann reproduce', or one that holds such folders; "
            f"{folder} holds none."
        )
    order = list(published_experiments())
    last = len(order)
    return sorted(
        found,
        key=lambda one: (order.index(one.id) if one.id in order else last, one.id, one.model),
    )


def is_reproduced(run: Any) -> bool:
    """Whether a ``run.json`` is that of a table or figure."""
    return (
        isinstance(run, Mapping)
        and isinstance(run.get("experiment"), str)
        and (run["experiment"] != "map")
    )


def _candidates(folder: Path) -> Iterator[Path]:
    for depth in range(1, DEEPEST + 1):
        for path in sorted(folder.glob("/".join(["*"] * depth) + "/run.json")):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                yield path.parent


def _run_of(folder: Path) -> Any:
    return read_json(folder / "run.json")


def _merged(printed: Sequence[PublishedCell], ours: Sequence[Row], name: str) -> list[str]:
    theirs = [getattr(cell, name) for cell in printed]
    return list(dict.fromkeys([*theirs, *(str(cell[name]) for cell in ours)]))
