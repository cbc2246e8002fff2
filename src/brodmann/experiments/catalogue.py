"""Every table and figure of both papers: what can be run, what it costs, what shows the rest."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from brodmann.errors import InputError
from brodmann.experiments import cnl, dcsn
from brodmann.experiments.experiment import EXPERIMENTS, Experiment

READY, NOTHING = "ready", "nothing to measure"


@dataclass(frozen=True)
class Elsewhere:
    """A table or figure that no experiment here makes.

    Attributes:
        status: "nothing to measure", or the command that shows it.
        title: what it shows.
    """

    status: str
    title: str


ELSEWHERE = {
    "dcsn-figure-1": Elsewhere(NOTHING, "Illustration of the method"),
    "dcsn-table-1": Elsewhere("brodmann data arithmetic/add-mul", "Examples of the data set"),
    "dcsn-table-7": Elsewhere("brodmann data arithmetic/2op", "Number of samples"),
    "cnl-figure-1": Elsewhere(NOTHING, "Illustration of fidelity and reliability"),
    "cnl-figure-3": Elsewhere(NOTHING, "Illustration of the decoupling experiment"),
}

COST = {
    "dcsn-figure-2": "1 min",
    "dcsn-table-2": "35 min",
    "dcsn-table-3": "5 min",
    "dcsn-table-4": "10 min",
    "dcsn-table-5": "20 min",
    "dcsn-table-6": "10 min",
    "dcsn-table-8": "10 min",
    "dcsn-table-9": "35 min",
    "dcsn-table-10": "15 min",
    "dcsn-table-11": "1 min behind table 3",
    "dcsn-table-12": "15 min",
    "dcsn-table-13": "40 min on gemma3-270m",
    "cnl-figure-7": "1 h on gemma3-270m",
    "dcsn-table-14": "1 min behind table 13",
    "cnl-table-1": "25 min",
    "cnl-figure-4": "seconds behind table 1",
    "cnl-figure-6": "seconds behind table 1",
    "cnl-table-2": "40 min",
    "cnl-table-3": "30 min behind table 1",
    "cnl-figure-5": "25 min behind table 2",
    "cnl-table-5": "1 min behind figure 5",
    "cnl-section-3.1": "25 min",
    "cnl-section-3.2": "10 min",
    "cnl-section-4": "about 10 min",
    "cnl-figure-2": "20 min",
    "cnl-table-4": "10 min",
    "cnl-figure-8": "10 min behind table 4",
}
"""CPU time of preset cpu on smollm2-135m, one thread; "about": estimated from parts of it."""


def load_experiments() -> dict[str, Experiment]:
    """Return every experiment by id, in the papers' order."""
    for package in (dcsn, cnl):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    return {name: EXPERIMENTS.get(name) for name in sorted(EXPERIMENTS.names(), key=paper_order)}


def find_experiment(name: str) -> Experiment:
    """Return the experiment with an id.

    Raises:
        UnknownNameError: there is none with this name.
        InputError: it is a table or figure that no experiment makes; the message says what does.
    """
    load_experiments()
    if name in ELSEWHERE:
        found = ELSEWHERE[name]
        raise InputError(
            f"Expected an experiment that can be run; {name} ({found.title}): {found.status}. "
            "'brodmann reproduce list' shows what there is."
        )
    return EXPERIMENTS.get(name)


def catalogue_rows() -> list[dict[str, Any]]:
    """Return a row for each table and figure of both papers, in their order."""
    ready = load_experiments()
    rows = []
    for name in sorted([*ready, *ELSEWHERE], key=paper_order):
        paper, kind, number = name.split("-")
        row: dict[str, Any] = {"id": name, "paper": paper, "place": f"{kind.capitalize()} {number}"}
        if name in ready:
            row |= {"status": READY, "shows": ready[name].title}
            row |= {"cost": COST.get(name, "not measured"), "needs": ready[name].needs}
        else:
            found = ELSEWHERE[name]
            row |= {"status": found.status, "shows": found.title, "cost": "", "needs": ""}
        rows.append(row)
    return rows


def paper_order(name: str) -> tuple[bool, str, float]:
    """Return an id's sorting key: DCSN first; within a paper sections, tables, figures."""
    paper, kind, number = name.split("-")
    order = {"section": "a", "table": "b", "figure": "c"}
    return paper != "dcsn", order[kind], float(number)
