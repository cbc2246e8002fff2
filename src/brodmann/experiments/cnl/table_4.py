"""cnl-table-4: six methods side by side, on the same facts: agreement, size, effect, cost.

The paper's rows are not comparable: KN, ROME and KC are judged on paraphrases of single facts, CNL
on halves of a data set. Here all locate on the same facts (tracing and circuits on the first
prompt of each, the others on all), and both agreements are told: ``Overlap`` is that of the paper
(paraphrases for KN, ROME and KC, halves for the others). What makes one neuron set of each method
is described in :mod:`brodmann.experiments.cnl.fact_methods`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from brodmann.data import Fact
from brodmann.evaluate import random_sets
from brodmann.experiments.cells import Cell, Row, add_holm, cell, change_cell, only
from brodmann.experiments.claims import Judged, above
from brodmann.experiments.cnl.agreement import known
from brodmann.experiments.cnl.alike import Rate, Universe, alike
from brodmann.experiments.cnl.fact_harm import beyond_worst, harm_of, more_harm
from brodmann.experiments.cnl.fact_methods import (
    LAYERED,
    Located,
    MethodConfig,
    as_many_as_kn,
    locate_all,
)
from brodmann.experiments.cnl.fact_pairs import FACT, Asked
from brodmann.experiments.cnl.fact_sample import chosen_facts
from brodmann.experiments.cnl.fact_sets import circuit_edges, kn_sets, strongest, traced_effects
from brodmann.experiments.cnl.own_sets import neuron_universe, own_sets
from brodmann.experiments.cnl.section_3_1 import MODELS, fact_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import layer_matched_chance, overlap

BLOCK, CONTRASTS = "Methods", "CNL - KN"
IPP, EQUAL = "IPP, log P", "IPP, log P, as many as KN"
INDIVIDUAL = ("KN", "ROME", "KC")
"""Methods whose overlap is that of paraphrases in the paper."""

CLAIMS = {
    "overlap": "What CNL's rule selects at single prompts overlaps more between paraphrases of a "
    "fact than KN's neurons do (the paper: 96.4 of halves of a data set against 37.3).",
    "effect": "Erasing what CNL locates on facts lowers log P of their answers more than the most "
    "harmful of the random sets does (the paper: an IPP of 20.0).",
    "effect-kn": "The same effect, beyond the most harmful random set, is larger for CNL than for "
    "KN (the paper: 20.0 against 11.4).",
    "effect-equal": "The same with as many of CNL's neurons as KN has, the strongest (added after "
    "a first run: larger sets harm more, whatever they are made of).",
}


def run(config: MethodConfig, bench: Workbench) -> Tables:
    """Locate by every method, and compare the sets."""
    sample = chosen_facts(config, bench)
    located = locate_all(config, bench, sample.facts)
    paraphrases = _paraphrases(config, bench, sample.facts)
    effects = {
        name: harm_of(config, bench, sample.facts, one)
        for name, one in located.items()
        if len(one.whole)
    }
    cut = as_many_as_kn(bench, located)
    equal = {name: harm_of(config, bench, sample.facts, one) for name, one in cut.items()}
    cells = [*sample.cells]
    for name, one in located.items():
        cells += _agreement(name, one, paraphrases.get(name))
        cells += _size(name, one, bench, sample.facts)
        cells += _ipp(name, one, effects.get(name), sample.facts)
        cells += _neutral(bench, name, one, config.seed)
    cells += [_equal_ipp(name, cut[name], harm, sample.facts) for name, harm in equal.items()]
    cells += _contrasts(paraphrases, effects, equal, sample.facts)
    for column in ("IPP", IPP):
        add_holm([one for one in cells if (one["block"], one["column"]) == (BLOCK, column)])
    return {"cells": cells, "facts": fact_rows(sample)}


def judge(tables: Mapping[str, Sequence[Cell]], config: MethodConfig) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    cells = tables["cells"]
    more = only(cells, block=CONTRASTS, row="difference", column="overlap of paraphrases")
    effect = only(cells, block=BLOCK, row="CNL", column=IPP)
    beyond, equal = (
        only(cells, block=CONTRASTS, row="difference", column=column) for column in (IPP, EQUAL)
    )
    return [
        above("overlap", more, 0, "Overlap of paraphrases, CNL's minus KN's"),
        above("effect", effect, 0, "Fall of log P beyond the most harmful random set, nats"),
        above("effect-kn", beyond, 0, "The same, CNL's minus KN's, nats"),
        above("effect-equal", equal, 0, "The same, of sets of one size, nats"),
    ]


def _paraphrases(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> dict[str, Rate]:
    """How far what is located at paraphrases of a fact agrees; KN, DCSN and CNL on all facts."""
    neurons = neuron_universe(bench)
    rule = {"CNL's rule": {"sigma": config.sigma}}
    integrals = {"steps": config.steps, "refine": False}
    examples = [example for fact in facts for example in fact.examples()]
    traced, circled = facts[: config.traced], facts[: config.circuits]
    effects = traced_effects(
        bench, traced, window=config.window, draws=config.draws, seed=config.seed
    )
    layers = [frozenset(strongest(one, config.top)) for one in effects]
    depth = bench.model.n_layers
    options = {"edges": float(config.edges), "steps": config.circuit_steps, "ablation": "zero"}
    found = circuit_edges(bench, circled, options)

    def rate(asked: Sequence[Fact], sets: Sequence[frozenset[int]], universe: Universe) -> Rate:
        those = Asked(asked)
        return alike(sets, universe, those.relations, seed=config.seed).rate(those.kinds[FACT])

    return {
        "KN": rate(facts, kn_sets(bench, facts, steps=config.steps, t=config.t), neurons),
        "ROME": rate(traced, layers, Universe(depth, (depth,))),
        "KC": rate(circled, found["edges"], found["universe"]),
        "DCSN": rate(facts, own_sets(bench, examples, "dcsn", {}, rule)["CNL's rule"], neurons),
        "CNL": rate(
            facts, own_sets(bench, examples, "cnl", integrals, rule)["CNL's rule"], neurons
        ),
    }


def _mark(name: str) -> dict[str, Any]:
    """What a cell of a method that the paper's table lacks is marked with."""
    return {} if name in (*INDIVIDUAL, "CNL") else {"extra": True}


def _agreement(name: str, one: Located, paraphrases: Rate | None) -> list[Row]:
    halves = overlap(*one.halves)
    level = layer_matched_chance(*one.halves).overlap
    about = {"unit": "share", "chance_layer_matched": known(level)}
    cells = [cell(BLOCK, name, "overlap of halves", known(halves), extra=True, **about)]
    if paraphrases is not None:
        cells.append(paraphrases.cell(BLOCK, name, "overlap of paraphrases", extra=True))
    more = _mark(name)
    if name in INDIVIDUAL and paraphrases is not None:
        return [*cells, paraphrases.cell(BLOCK, name, "Overlap", **more)]
    return [*cells, cell(BLOCK, name, "Overlap", known(halves), **about, **more)]


def _size(name: str, one: Located, bench: Workbench, facts: Sequence[Fact]) -> list[Row]:
    own = [site.parameters_per_neuron for site in bench.model.sites]
    share = one.whole.parameter_share(own, bench.model.hf.num_parameters())
    more = _mark(name)
    prompts = len(facts) if name in LAYERED else sum(len(fact.prompts) for fact in facts)
    return [
        cell(BLOCK, name, "Neuron", one.whole.share, unit="share", neurons=len(one.whole), **more),
        cell(BLOCK, name, "parameters", share, unit="share", extra=True),
        cell(BLOCK, name, "cost", one.seconds, unit="seconds", prompts=prompts, extra=True),
        cell(BLOCK, name, "cost of a prompt", one.seconds / prompts, unit="seconds", extra=True),
    ]


def _ipp(
    name: str, one: Located, effects: Mapping[str, Any] | None, facts: Sequence[Fact]
) -> list[Row]:
    """The harm of erasing a set, minus that of the most harmful random set."""
    more = _mark(name)
    if effects is None:
        return [cell(BLOCK, name, "IPP", None, unit="change", neurons=0, **more)]
    draws = {"draws": len(effects["random"]), "match": one.match}
    return [
        change_cell(BLOCK, name, "IPP", beyond_worst(effects, "greedy", facts), **draws, **more),
        change_cell(BLOCK, name, IPP, beyond_worst(effects, "logprob", facts), "nats",
                    extra=True, **draws),
    ]  # fmt: skip


def _neutral(bench: Workbench, name: str, one: Located, seed: int) -> list[Row]:
    """What erasing the set does to the reading of neutral text, beside one random set."""
    if not len(one.whole):
        return []
    (drawn,) = random_sets(one.whole, 1, one.match, seed=seed)
    kl, random = (bench.neutral(neurons)["kl"] for neurons in (one.whole, drawn))
    return [cell(BLOCK, name, "KL of neutral text", kl, unit="nats", random=random, extra=True)]


def _equal_ipp(name: str, one: Located, harm: Mapping[str, Any], facts: Sequence[Fact]) -> Row:
    change = beyond_worst(harm, "logprob", facts)
    about = {"neurons": len(one.whole), "draws": len(harm["random"]), "match": one.match}
    return change_cell(BLOCK, name, EQUAL, change, "nats", extra=True, **about)


def _contrasts(
    paraphrases: Mapping[str, Rate],
    effects: Mapping[str, Mapping[str, Any]],
    equal: Mapping[str, Mapping[str, Any]],
    facts: Sequence[Fact],
) -> list[Row]:
    rate = paraphrases["CNL"] - paraphrases["KN"]
    cells = [rate.cell(CONTRASTS, "difference", "overlap of paraphrases", extra=True)]
    for column, harm in ((IPP, effects), (EQUAL, equal)):
        if "KN" in harm and "CNL" in harm:
            change = more_harm(harm["CNL"], harm["KN"], "logprob", facts)
            cells.append(change_cell(CONTRASTS, "difference", column, change, "nats", extra=True))
    return cells


SMOKE = MethodConfig(
    facts="own",
    n_facts=4,
    prompts=3,
    known=False,
    traced=4,
    circuits=4,
    steps=2,
    top=1,
    window=1,
    draws=2,
    edges=0.2,
    circuit_steps=2,
    p=0.5,
    sigma=2,
    share=0.02,
    tuning_steps=4,
    lr=1e-3,
    erasures=2,
)
CPU = MethodConfig(
    facts="known_1000",
    n_facts=12,
    traced=4,
    circuits=12,
    steps=5,
    draws=3,
    edges=0.07,
    circuit_steps=5,
    tuning_steps=10,
)
PAPER = replace(
    CPU,
    facts="counterfact5",
    n_facts=1000,
    traced=1000,
    circuits=1000,
    steps=20,
    draws=10,
    tuning_steps=1000,
)

PRESETS = {"smoke": SMOKE, "cpu": CPU, "paper": PAPER}

EXPERIMENTS.add(
    "cnl-table-4",
    Experiment(
        id="cnl-table-4",
        title="Methods side by side: overlap, share, effect",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
        needs="facts",
    ),
)
