"""cnl-section-3.2: does what KN and circuits locate do to a fact what it should?

The paper counts in how many facts the answer's probability rises or falls, beside one random set.
A count has no size, and one random set no spread: so the change of log P stands beside it, and
many random sets, each with as many neurons in every layer; and the same change of another
subject's answer in the same relation, without which nothing is known of a single fact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any

from brodmann.errors import InputError
from brodmann.evaluate import bootstrap_interval, paired_difference, permutation_p
from brodmann.experiments.cells import Cell, Row, cell, change_cell, only
from brodmann.experiments.check_values import check_share
from brodmann.experiments.claims import Judged, above, below
from brodmann.experiments.cnl.fact_effects import FACTORS, effect_rows
from brodmann.experiments.cnl.fact_recall import RECALL, recall_cells
from brodmann.experiments.cnl.fact_sample import (
    FactConfig,
    FactSample,
    chosen_facts,
    relation_by_relation,
)
from brodmann.experiments.cnl.fact_sets import by_fact, kn_sets, refined
from brodmann.experiments.cnl.own_sets import set_of
from brodmann.experiments.cnl.section_3_1 import MODELS, fact_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench

LOCATED, RANDOM, BEYOND = "Located", "Random", "Located - Random"
BEYOND_NORM = f"{BEYOND}, by norm"
SPECIFIC = "own - another fact of the relation"
RECALL_MEAN = f"{RECALL}, mean ablation"
RECALLS = {RECALL: "zero", RECALL_MEAN: "mean"}
"""Block -> what removed edges carry."""
EDGE_SCORES = {"eap-ig": "", "eap": ", EAP"}
"""How edges are scored -> what the block's name ends with."""
RANK_1, RANK_10 = "rank 1", "rank 10 or better"

CLAIMS = {
    "doubling": "Doubling the neurons that KN locates for a fact raises log P of its answer more "
    "than doubling random ones does, as many in each layer (the paper: it rises in 85.1% of the "
    "facts, and in 72.3% at random, which it calls similar).",
    "zeroing": "Zeroing them lowers log P of the answer more than zeroing random ones does (the "
    "paper: it falls in 72.4%, and in 82.6% at random).",
    "specific": "Zeroing them lowers log P of the fact's answer more than that of another fact of "
    "its relation: they are the fact's own.",
    "recall": "A circuit alone gives the answer the first rank in less than a half of the facts "
    "that the model knows (the paper: 12.3%).",
    "recall-random": "A circuit alone gives the answer one of the first ten ranks more often than "
    "random circuits of as many edges do.",
    "recall-mean": "The same of mean-ablation circuits, rank 1: in less than a half of the facts.",
    "recall-mean-random": "The same of mean-ablation circuits, the first ten ranks: more often "
    "than random circuits.",
}


@dataclass(frozen=True, kw_only=True)
class Section32(FactConfig):
    """Values of cnl-section-3.2; those of :class:`FactConfig`, and of the two methods.

    Attributes:
        steps: gradient evaluations of KN's integrals.
        t: KN's threshold, as a share of the largest attribution.
        p: share of a fact's prompts that a neuron has to pass in.
        draws: random sets beside each located one.
        norm_draws: random sets matched by activation norm besides.
        circuits: of how many facts circuits are made; they are of as many relations as there are.
        edges: of a circuit, as a share of the model's.
        circuit_scores: by which scores the edges are taken, "eap-ig" and "eap". The claims are
            about the first; the second says better what removing a single edge does
            (``benchmarks/circuit_agreement.py``).
        circuit_steps: of EAP-IG.
        random_circuits: of as many edges beside each.
    """

    steps: int = 20
    t: int | float = 0.2
    p: int | float = 0.7
    draws: int = 20
    norm_draws: int = 20
    circuits: int = 40
    edges: int | float = 0.07
    circuit_scores: tuple[str, ...] = tuple(EDGE_SCORES)
    circuit_steps: int = 5
    random_circuits: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("edges", self.edges)
        if unknown := set(self.circuit_scores) - set(EDGE_SCORES):
            raise InputError(
                f"Expected circuit_scores out of {', '.join(EDGE_SCORES)}; got "
                f"{', '.join(sorted(unknown))}."
            )


def run(config: Section32, bench: Workbench) -> Tables:
    """Double and zero what KN locates; let circuits answer alone."""
    sample = chosen_facts(config, bench)
    found = by_fact(sample.facts, kn_sets(bench, sample.facts, steps=config.steps, t=config.t))
    neurons = [set_of(bench, refined(sets, config.p)) for sets in found]
    relation = {fact.id: fact.relation for fact in sample.facts}
    rows = [
        row | {"relation": relation[row["fact"]]}
        for row in effect_rows(
            bench,
            sample.facts,
            neurons,
            draws=config.draws,
            norm_draws=config.norm_draws,
            seed=config.seed,
        )
    ]
    sizes = [len(one) for one in neurons]
    empty = sum(size == 0 for size in sizes)
    cells = [
        *sample.cells,
        cell("Facts", "without neurons", "facts", empty, unit="examples", extra=True),
        cell("Facts", "neurons of a fact", "facts", sum(sizes) / len(sizes), unit="count",
             n=len(sizes), extra=True),
    ]  # fmt: skip
    for intervention in FACTORS:
        cells += _of_intervention(intervention, rows)
    cells += _recall(config, bench, sample)
    return {"cells": cells, "effects": _long(rows), "facts": fact_rows(sample)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Section32) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    cells = tables["cells"]

    def of(block: str, row: str, column: str) -> Cell | None:
        return only(cells, block=block, row=row, column=column)

    beyond = {name: of(f"KN {name}", BEYOND, "log P") for name in FACTORS}
    judged = [
        above("doubling", beyond["doubled"], 0, "Change of log P beyond random sets, nats"),
        below("zeroing", beyond["zeroed"], 0, "Change of log P beyond random sets, nats"),
        below("specific", of("KN zeroed", SPECIFIC, "log P"), 0, "Change of log P of the own "
              "answer minus that of another fact, nats"),
    ]  # fmt: skip
    for name, block in (("recall", RECALL), ("recall-mean", RECALL_MEAN)):
        ranks = [of(block, row, RANK_10) for row in (LOCATED, RANDOM)]
        told = any(one is not None and one["value"] for one in ranks)  # else none recalls anything
        more = of(block, BEYOND, RANK_10) if told else None
        what = "Share of known facts at rank 1"
        judged.append(below(name, of(block, LOCATED, RANK_1), 0.5, what))
        what = "Rank 10 or better, beyond random circuits"
        judged.append(above(f"{name}-random", more, 0, what))
    return judged


def _of_intervention(intervention: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The paper's shares, and changes of log P, of one intervention."""
    block = f"KN {intervention}"
    by_whose = {
        whose: [row for row in rows if (row["intervention"], row["whose"]) == (intervention, whose)]
        for whose in ("own", "other")
    }
    cells = _shares(block, by_whose["own"], extra=False)
    cells += _changes(block, by_whose["own"])
    other = f"{block}, another fact of the relation"
    cells += _shares(other, by_whose["other"], extra=True) + _changes(other, by_whose["other"])
    paired = [
        (next(one["located"] for one in by_whose["own"] if one["fact"] == row["fact"]), row)
        for row in by_whose["other"]
    ]
    if paired:
        specific = paired_difference([row["located"] for _, row in paired],
                                     [own for own, _ in paired],
                                     groups=_relations([row for _, row in paired]))  # fmt: skip
        cells.append(change_cell(block, SPECIFIC, "log P", specific, "nats", extra=True))
    return cells


def _shares(block: str, rows: Sequence[Mapping[str, Any]], *, extra: bool) -> list[Row]:
    """In what share of the facts the answer becomes likelier, and less likely."""
    if not rows:
        return []
    more: dict[str, Any] = {"extra": True} if extra else {}
    cells = []
    for column, sign in (("rises", 1), ("falls", -1)):
        located = [float(sign * row["located"] > 0) for row in rows]
        random = [fmean([float(sign * one > 0) for one in row["random"]]) for row in rows]
        for name, values in ((LOCATED, located), (RANDOM, random)):
            cells.append(_mean_cell(block, name, column, values, rows, "share", **more))
        change = paired_difference(random, located, groups=_relations(rows))
        cells.append(change_cell(block, BEYOND, column, change, extra=True))
    return cells


def _changes(block: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The mean change of log P, and where it stands among that of random sets."""
    if not rows:
        return []
    located = [row["located"] for row in rows]
    random = [fmean(row["random"]) for row in rows]
    sign = 1 if "doubled" in block else -1  # more is more extreme
    draws = [sign * fmean(values) for values in zip(*(r["random"] for r in rows), strict=True)]
    place = permutation_p(sign * fmean(located), draws)
    controls = {BEYOND: random}
    if rows[0]["by_norm"]:
        controls[BEYOND_NORM] = [fmean(row["by_norm"]) for row in rows]
    return [
        _mean_cell(block, LOCATED, "log P", located, rows, "nats", extra=True,
                   draws=place.draws, rank=place.rank),
        _mean_cell(block, RANDOM, "log P", random, rows, "nats", extra=True),
        *(change_cell(block, name, "log P",
                      paired_difference(beside, located, groups=_relations(rows)), "nats",
                      extra=True)
          for name, beside in controls.items()),
    ]  # fmt: skip


def _recall(config: Section32, bench: Workbench, sample: FactSample) -> list[Row]:
    facts = relation_by_relation(sample.facts)[: config.circuits]
    cells = []
    for scores, (block, ablation) in product(config.circuit_scores, RECALLS.items()):
        steps = None if scores == "eap" else config.circuit_steps
        options = {"edges": float(config.edges), "steps": steps, "ablation": ablation}
        block += EDGE_SCORES[scores]
        found = recall_cells(
            bench, facts, options, draws=config.random_circuits, seed=config.seed, block=block
        )
        cells += found if block == RECALL else [one | {"extra": True} for one in found]
    return cells


def _mean_cell(
    block: str,
    row: str,
    column: str,
    values: Sequence[float],
    rows: Sequence[Mapping[str, Any]],
    unit: str,
    **more: Any,
) -> Row:
    groups = _relations(rows)
    low, high = bootstrap_interval(values, groups=groups)
    n = len(set(groups))
    return cell(block, row, column, fmean(values), low=low, high=high, unit=unit, n=n, **more)


def _relations(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What goes together in intervals: two facts of one relation are asked alike."""
    return [row["relation"] for row in rows]


def _long(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        {name: fmean(value) if name in ("random", "by_norm") else value
         for name, value in row.items() if value != []}
        for row in rows
    ]  # fmt: skip


PRESETS = {
    "smoke": Section32(
        facts="own",
        n_facts=4,
        prompts=3,
        known=False,
        steps=2,
        p=0.5,
        draws=2,
        norm_draws=1,
        circuits=2,
        edges=0.2,
        circuit_steps=2,
        random_circuits=2,
    ),
    "cpu": Section32(
        facts="known_1000", n_facts=24, steps=5, circuits=8, edges=0.07, circuit_steps=5
    ),
    "paper": Section32(facts="zsre", n_facts=1000, prompts=2, circuits=1000),
}
"""``cpu`` asks Known-1000, of which a small model knows 1 in 4: of ParaRel, 1 in 30."""

EXPERIMENTS.add(
    "cnl-section-3.2",
    Experiment(
        id="cnl-section-3.2",
        title="Reliability of KN, ROME and circuits",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
        needs="facts",
    ),
)
