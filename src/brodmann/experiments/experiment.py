"""`Experiment`: one table or figure of a paper, as something that can be run and judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.experiments.cells import Cell, Row
from brodmann.experiments.claims import Judged
from brodmann.experiments.workbench import Workbench
from brodmann.registry import Registry

Tables = dict[str, list[Row]]
"""Rows by table name; ``"cells"`` is always there."""

PRESETS = {
    "smoke": "a tiny random model, seconds: it runs, and means nothing",
    "cpu": "a bundled model, tens of minutes on two cores",
    "paper": "the paper's models and sizes, for GPUs",
}
"""Sizes of an experiment; values only."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or figure of a paper.

    Attributes:
        id: ``"dcsn-table-2"``.
        title: what it shows.
        claims: name -> the claim in words, stated before any run.
        run: measures; (config, workbench) -> tables.
        judge: (tables, config) -> verdicts, a pure function.
        presets: preset -> a frozen config.
        models: preset -> the models it runs on, where they are not the usual ones.
        needs: what it needs besides a model ("data sets"), or empty.
    """

    id: str
    title: str
    claims: Mapping[str, str]
    run: Callable[[Any, Workbench], Tables]
    judge: Callable[[Mapping[str, Sequence[Cell]], Any], list[Judged]]
    presets: Mapping[str, Any]
    models: Mapping[str, tuple[str, ...]]
    needs: str = ""

    @property
    def paper(self) -> str:
        """``"dcsn"`` or ``"cnl"``."""
        return self.id.partition("-")[0]

    @property
    def place(self) -> str:
        """Where it stands in the paper: ``"Table 2"``."""
        _, kind, number = self.id.split("-")
        return f"{kind.capitalize()} {number}"


EXPERIMENTS: Registry[Experiment] = Registry("experiment")
"""What can be run, by id; each module of an experiment adds its own."""
