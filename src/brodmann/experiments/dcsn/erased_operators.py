"""Erase each operator's neurons beside random sets: accuracies, contrasts, neutral text."""

from collections.abc import Mapping, Sequence

from brodmann.evaluate import bootstrap_interval, random_sets
from brodmann.experiments.cells import (
    AVERAGE,
    OPERATORS,
    Row,
    accuracy_cell,
    add_holm,
    cell,
    change_cell,
    units,
)
from brodmann.experiments.enhancing import margin_beside, pooled_cell
from brodmann.experiments.erasing import (
    Erasure,
    beyond_random,
    erase_and_compare,
    perplexity_ratio,
    standing_of_mean,
)
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

NEUTRAL = "Neutral text"
BASE, RANDOM, LOCATED = "Original", "Deactivate-Random", "Deactivate-Cap"
RANDOM_BY_NORM = f"{RANDOM}, by norm"


def erasure_cells(
    bench: Workbench,
    sets: Mapping[str, NeuronSet],
    tests: Mapping[str, Sample],
    draws: int,
    norm_draws: int,
    block: str,
    suffix: str = "",
) -> list[Row]:
    """Return the accuracies with a set or a random one erased, and how far the set goes beyond.

    Args:
        bench: the model.
        sets: operator -> what to erase.
        tests: operator -> what to answer.
        draws: random sets of each.
        norm_draws: random sets of each that are matched by activation norm besides.
        block: of the cells.
        suffix: behind the rows' names; marks them as ours. Without one there is "Original" too.
    """
    mark: Row = {"extra": True} if suffix else {}
    found = {
        name: erase_and_compare(bench, one, tests[name], draws=draws, norm_draws=norm_draws)
        for name, one in sets.items()
        if len(one)
    }
    cells: list[Row] = []
    if not suffix:
        base = {name: bench.answers(tests[name]) for name in sets}
        cells = [accuracy_cell(block, BASE, OPERATORS[name], one) for name, one in base.items()]
        cells.append(pooled_cell(block, BASE, AVERAGE, list(base.values())))
    for name in sets:
        if name in found:
            more = mark | {"neurons": len(sets[name])}
            cells += cells_of_one(found[name], block, OPERATORS[name], suffix, more)
        else:
            cells += _nothing(block, OPERATORS[name], suffix, mark)
    _adjust(cells)
    if len(found) < len(sets):
        return cells + _nothing(block, AVERAGE, suffix, mark)
    return cells + cells_of_all(list(found.values()), block, suffix, mark)


def cells_of_all(erasures: Sequence[Erasure], block: str, suffix: str, mark: Row) -> list[Row]:
    """Return the column ``Avg.`` of several erasures: random, located, and how far beyond."""
    located = [one.located for one in erasures]
    more = mark | _standing(erasures)
    return [
        _random_cell(erasures, block, AVERAGE, suffix, mark),
        pooled_cell(block, LOCATED + suffix, AVERAGE, located, **more),
        *_beyond(erasures, block, AVERAGE, suffix),
        *_beside_norm(erasures, block, AVERAGE, suffix),
    ]


def cells_of_one(erasure: Erasure, block: str, column: str, suffix: str, more: Row) -> list[Row]:
    """Return one column of an erasure: random, located, and how far beyond."""
    more = more | _standing([erasure])
    return [
        _random_cell([erasure], block, column, suffix, more),
        accuracy_cell(block, LOCATED + suffix, column, erasure.located, **more),
        *_beyond([erasure], block, column, suffix),
        *_beside_norm([erasure], block, column, suffix),
    ]


def _beside_norm(erasures: Sequence[Erasure], block: str, column: str, suffix: str) -> list[Row]:
    """The same beside random sets matched by activation norm, where there are any."""
    if not all(one.by_norm for one in erasures):
        return []
    found = [one.beside_norm for one in erasures]
    return [
        _random_cell(found, block, column, suffix, {"extra": True}, RANDOM_BY_NORM),
        *_beyond(found, block, column, suffix, RANDOM_BY_NORM),
    ]


def _nothing(block: str, column: str, suffix: str, mark: Row) -> list[Row]:
    """The rule selected nothing: nothing was erased."""
    return [
        cell(block, row + suffix, column, None, unit="accuracy", neurons=0, **mark)
        for row in (RANDOM, LOCATED)
    ]


def _random_cell(
    erasures: Sequence[Erasure],
    block: str,
    column: str,
    suffix: str,
    more: Row,
    row: str = RANDOM,
) -> Row:
    """The mean over random sets; ``worst`` is the lowest accuracy that one of them leaves."""
    values = [value for one in erasures for value in one.random_mean()]
    groups = [unit for one in erasures for unit in units(one.base)]
    low, high = bootstrap_interval(values, groups=groups)
    draws = zip(*([drawn.accuracy for drawn in one.random] for one in erasures), strict=True)
    worst = min(sum(together) / len(together) for together in draws)
    told = {**more, "draws": len(erasures[0].random), "worst": worst}
    told["chance"] = sum(one.base.chance for one in erasures) / len(erasures)
    told = {key: value for key, value in told.items() if key not in ("p", "rank")}
    mean, n = sum(values) / len(values), len(set(groups))
    return cell(block, row + suffix, column, mean, low=low, high=high, unit="accuracy", n=n, **told)


def _standing(erasures: Sequence[Erasure]) -> Row:
    found = standing_of_mean(erasures)
    return {"rank": found.rank, "draws": found.draws, "p": found.p}


def _beyond(
    erasures: Sequence[Erasure], block: str, column: str, suffix: str, random: str = RANDOM
) -> list[Row]:
    found, margin = beyond_random(erasures), beyond_random(erasures, "margin")
    if found is None or margin is None:
        return []
    told = margin_beside(margin) | {"draws": len(erasures[0].random), "extra": True}
    return [change_cell(block, f"{LOCATED}{suffix} - {random}{suffix}", column, found, **told)]


def _adjust(cells: list[Row]) -> None:
    """Add Holm's p over the operators, where there is a p."""
    add_holm([one for one in cells if one["row"].startswith(LOCATED) and one.get("rank")])


def neutral_cells(
    bench: Workbench, sets: Mapping[str, NeuronSet], draws: int, suffix: str = ""
) -> list[Row]:
    """Return by what erasing multiplies the perplexity of neutral text, random sets beside it.

    Args:
        bench: the model.
        sets: operator -> its set; or the operators of a union, joined by "-".
        draws: random sets that read it, too.
        suffix: of the rows.
    """
    cells = []
    for name, neurons in sets.items():
        if not len(neurons):
            continue
        place = "".join(OPERATORS[part] for part in name.split("-"))
        told = {"neurons": len(neurons), "extra": True}
        found = bench.neutral(neurons)
        more: Row = told | {"unit": "perplexity ratio"}
        kl = found["kl"]
        cells.append(cell(NEUTRAL, LOCATED + suffix, place, perplexity_ratio(found), kl=kl, **more))
        random = [bench.neutral(one) for one in random_sets(neurons, draws)]
        drawn, kls = [perplexity_ratio(one) for one in random], [one["kl"] for one in random]
        finite = [one for one in drawn if one is not None]
        if drawn:
            is_finite = len(finite) == len(drawn)
            more |= {"draws": draws, "worst": max(finite) if is_finite else None}
            mean = sum(finite) / len(drawn) if is_finite else None
            if None not in kls:
                more |= {"kl": sum(kls) / len(kls), "kl_worst": max(kls)}
            cells.append(cell(NEUTRAL, RANDOM + suffix, place, mean, **more))
    return cells
