"""DCSN Figure 2: how active each operator's neurons are on expressions of each operator.

At the token in front of the answer, over held-out expressions: mean |z| of a set's neurons, and
mean C (what they add to the answer's logit). The paper's figure has no numbers; its claim is that
addition also activates the neurons of subtraction, its inverse, and multiplication those of
division.

Sets differ in how active their neurons are on anything. So each cell has beside it what sets with
as many neurons in each layer have (exactly, over all such sets), "other" is the mean of the neurons
in no set, and a second contrast keeps the neurons and changes the expressions. (Over all operators
the two contrasts have one mean, so that this one is free of what sets are on anything, too.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from brodmann.evaluate import bootstrap_interval
from brodmann.experiments.cells import OPERATORS, Cell, Row, cell, only
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.dcsn.activation_ratio import magnitudes, one_by_one, random_mean
from brodmann.experiments.dcsn.operator_sets import (
    CPU,
    PAPER,
    RULES,
    SMOKE,
    Locating,
    by_operator,
    operator_sets,
    spec_of,
)
from brodmann.experiments.dcsn.whose_set import ALL, INVERSE, INVERSE_OTHERS
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import pairs_digest
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

MEASURES = {"z": ("mean |z|", "activation"), "c": ("mean C", "logits")}
"""Key -> block and unit."""

OTHER = "other"
ELSEWHERE = "inverse: here - other pair's expressions"


@dataclass(frozen=True, kw_only=True)
class Figure2Config:
    """Everything that decides the figure, besides the model.

    Attributes:
        locating: on what, and how, the sets are located.
        items: held-out expressions of each operator; None takes all.
    """

    locating: Locating
    items: int | None


def run(config: Figure2Config, bench: Workbench) -> Tables:
    """Measure every set on every operator's expressions."""
    located = operator_sets(bench, config.locating)
    cells: list[Row] = []
    for suffix, rule in RULES.items():
        sets = by_operator(located[rule])
        rows = {}
        for name in OPERATORS:
            spec = spec_of(name, config.locating.options)
            sample = Sample(spec, "test", config.items, config.locating.seed)
            rows[name] = _measured(bench, sample, sets)
        for measure, (block, unit) in MEASURES.items():
            mark = {"extra": True} if suffix else {}
            cells += _matrix(rows, sets, (measure, f"{block}{suffix}", unit), mark)
            cells += contrast_cells(rows, measure, f"{block}, contrasts{suffix}", unit)
    return {"cells": cells}


def judge(tables: Mapping[str, Sequence[Cell]], config: Figure2Config) -> list[Judged]:
    """Judge the papers' sets: over all operators, and those of - on additions."""
    judged = []
    for measure, (block, _) in MEASURES.items():
        place = {"block": f"{block}, contrasts"}
        inverse = only(tables["cells"], **place, row=ALL, column=INVERSE_OTHERS)
        same = only(tables["cells"], **place, row="+", column=ELSEWHERE)
        because = f"{block} of the inverse operator's set"
        judged += [
            above(f"inverse_{measure}", inverse, 0.0, f"{because} less that of the other pair's"),
            above(
                f"same_neurons_{measure}",
                same,
                0.0,
                f"{block} of the set of - on additions less that on expressions with * or /",
            ),
        ]
    return judged


def _measured(
    bench: Workbench, sample: Sample, sets: Mapping[str, NeuronSet]
) -> list[dict[str, Any]]:
    """Each example's means over the sets: ``z`` and ``c``, and of random sets (``random_z``)."""
    examples = bench.examples(sample)
    key = {
        "magnitudes": bench.digest(sample),
        "sets": {name: pairs_digest(one) for name, one in sets.items()},
    }

    def make() -> list[dict[str, Any]]:
        scores = (one.values for one in one_by_one(bench, examples))
        both = zip(examples, magnitudes(bench.model, examples), scores, strict=True)
        return [
            {"expression": e.meta["expression"], **_means("z", z, sets), **_means("c", c, sets)}
            for e, z, c in both
        ]

    return bench.piece(key, make)


def _means(
    measure: str, values: Float[Tensor, "L N"], sets: Mapping[str, NeuronSet]
) -> dict[str, dict[str, float | None]]:
    known = {name: one for name, one in sets.items() if len(one)}
    rest = next(iter(sets.values())).real
    for one in sets.values():
        rest = rest & ~one.mask
    nothing: dict[str, float | None] = dict.fromkeys(sets)
    own = {name: float(values[one.mask].double().mean()) for name, one in known.items()}
    random = {name: random_mean(values, one) for name, one in known.items()}
    other = float(values[rest].double().mean())
    return {measure: {**nothing, **own, OTHER: other}, f"random_{measure}": {**nothing, **random}}


def _matrix(
    rows: Mapping[str, Sequence[Row]],
    sets: Mapping[str, NeuronSet],
    what: tuple[str, str, str],
    mark: Mapping[str, Any],
) -> list[Row]:
    measure, block, unit = what
    cells = []
    for asked, found in rows.items():
        for name, column in {**OPERATORS, OTHER: OTHER}.items():
            place = (block, OPERATORS[asked], column)
            more: dict[str, Any] = dict(mark)
            if name in sets:
                random = [row[f"random_{measure}"][name] for row in found]
                known = len(sets[name]) > 0
                more |= {"neurons": len(sets[name])}
                more |= {"chance": sum(random) / len(random) if known else None}
            values = [row[measure][name] for row in found]
            cells.append(
                _mean_cell(place, values, [_unit(asked, row) for row in found], unit, more)
            )
    return cells


def contrast_cells(
    rows: Mapping[str, Sequence[Row]], measure: str, block: str, unit: str
) -> list[Row]:
    """Compare the inverse operator's set with the other pair's sets, and with itself elsewhere."""
    cells = []
    pairs: dict[str, tuple[list[float | None], list[str]]] = {}
    apart: dict[str, tuple[list[float | None], list[str]]] = {}
    for asked, found in rows.items():
        inverse = INVERSE[asked]
        others = [name for name in OPERATORS if name not in (asked, inverse)]
        values = [
            _minus(row[measure][inverse], [row[measure][name] for name in others]) for row in found
        ]
        pairs[asked] = values, [_unit(asked, row) for row in found]
        apart[asked] = _signed(rows, measure, asked, others)
    for column, measured in ((INVERSE_OTHERS, pairs), (ELSEWHERE, apart)):
        for asked, (values, units) in measured.items():
            place = (block, OPERATORS[asked], column)
            cells.append(_mean_cell(place, values, units, unit, {"extra": True}))
    every = [value for values, _ in pairs.values() for value in _about_mean(values)]
    means = [one["value"] for one in cells if one["column"] == INVERSE_OTHERS]
    middle = None if None in means else sum(means) / len(means)
    every = [None if value is None or middle is None else value + middle for value in every]
    units = [one for _, names in pairs.values() for one in names]
    place = (block, ALL, INVERSE_OTHERS)
    cells.append(_mean_cell(place, every, units, unit, {"extra": True}))
    return cells


def _about_mean(values: Sequence[float | None]) -> list[float | None]:
    """Take off the mean: how operators differ is not sampled, so it is not in an interval."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return [None] * len(values)
    mean = sum(known) / len(known)
    return [value - mean for value in known]


def _minus(value: float | None, others: Sequence[float | None]) -> float | None:
    known = [other for other in others if other is not None]
    if value is None or len(known) < len(others):
        return None
    return value - sum(known) / len(known)


def _signed(
    rows: Mapping[str, Sequence[Row]], measure: str, asked: str, others: Sequence[str]
) -> tuple[list[float | None], list[str]]:
    """Numbers whose mean is: the inverse set's mean on ``asked`` less that on the others'.

    Taken about their overall mean, so that a bootstrap that draws more of one side than of the
    other does not shift the difference.
    """
    inverse = INVERSE[asked]
    here = [row[measure][inverse] for row in rows[asked]]
    there = [row[measure][inverse] for name in others for row in rows[name]]
    units = [_unit(asked, row) for row in rows[asked]]
    units += [_unit(name, row) for name in others for row in rows[name]]
    if any(value is None for value in (*here, *there)):
        return [None] * len(units), units
    middle = sum((*here, *there)) / len(units)
    values: list[float | None] = [(v - middle) * len(units) / len(here) for v in here]
    values += [(middle - v) * len(units) / len(there) for v in there]
    return values, units


def _mean_cell(
    place: tuple[str, str, str],
    values: Sequence[float | None],
    units: Sequence[str],
    unit: str,
    more: Mapping[str, Any],
) -> Row:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return cell(*place, None, unit=unit, **more)
    low, high = bootstrap_interval(known, groups=units)
    mean, n = sum(known) / len(known), len(set(units))
    return cell(*place, mean, low=low, high=high, unit=unit, n=n, **more)


def _unit(asked: str, row: Mapping[str, Any]) -> str:
    return f"{asked} {row['expression']}"


CLAIMS = {
    "inverse_z": "On expressions of one operator the set of its inverse is more active (mean |z|) "
    "than the sets of the other two operators (the paper, without numbers: + and -, * and /).",
    "same_neurons_z": "The set of - is more active (mean |z|) on additions than on multiplications "
    "and divisions: the same neurons, other expressions.",
    "inverse_c": "On expressions of one operator the set of its inverse adds more to the answer's "
    "logit (mean C) than the sets of the other two operators.",
    "same_neurons_c": "The set of - adds more to the answer's logit (mean C) on additions than on "
    "multiplications and divisions.",
}

PRESETS = {
    "smoke": Figure2Config(locating=SMOKE, items=6),
    "cpu": Figure2Config(locating=CPU, items=16),
    "paper": Figure2Config(locating=PAPER, items=None),
}

EXPERIMENTS.add(
    "dcsn-figure-2",
    Experiment(
        id="dcsn-figure-2",
        title="Activation of each operator's neurons by each operator's expressions",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models={
            "smoke": ("tiny-random",),
            "cpu": ("smollm2-135m",),
            "paper": ("meta-llama/Llama-2-7b-hf",),
        },
    ),
)
