"""Does a fact's circuit, alone, give its answer, and would a random circuit of its size?

A random circuit has as many edges into every receiver as the located one, from senders drawn
among those that there are. Edges that are not in a circuit carry nothing (zero ablation), or what
they carry on average over the facts of the experiment (mean ablation).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch

from brodmann.data import Fact
from brodmann.evaluate import bootstrap_interval, paired_difference, wilson_interval
from brodmann.evaluate.circuit_recall import circuit_ranks
from brodmann.experiments.cells import Row, cell, change_cell
from brodmann.experiments.cnl.fact_sample import asked_at, prompts_digest
from brodmann.experiments.cnl.fact_sets import among, circuit_of, removed_for
from brodmann.experiments.partial import say
from brodmann.experiments.workbench import Workbench
from brodmann.localize.circuits import Circuit

RECALL = "KC recall"
RANKS = {"rank 1": 1, "rank 10 or better": 10}
"""Column -> the rank that counts as recalled: 1 in the paper, 10 with the circuits' authors."""


def recall_cells(
    bench: Workbench,
    facts: Sequence[Fact],
    options: Mapping[str, Any],
    *,
    draws: int,
    seed: int,
    block: str = RECALL,
) -> list[Row]:
    """Let the circuit of each fact's first prompt answer it alone; intervals are over relations.

    Args:
        bench: the model.
        facts: what is asked.
        options: see :func:`~brodmann.experiments.cnl.fact_sets.circuit_of`.
        draws: random circuits beside each.
        seed: of them.
        block: of the cells.
    """
    rows = _recalls(bench, facts, options, draws, seed)
    relations = [fact.relation for fact in facts]
    n = len(set(relations))
    cells = []
    for column, most in RANKS.items():
        located = [float(row["rank"] <= most) for row in rows]
        random = [fmean([float(rank <= most) for rank in row["random"]]) for row in rows]
        more: dict[str, Any] = {} if most == 1 else {"extra": True}
        low, high = wilson_interval(fmean(located) * n, n)
        cells.append(cell(block, "Located", column, fmean(located), low=low, high=high,
                          unit="share", n=n, **more))  # fmt: skip
        low, high = bootstrap_interval(random, groups=relations)
        cells.append(cell(block, "Random", column, fmean(random), low=low, high=high,
                          unit="share", n=n, draws=draws, extra=True))  # fmt: skip
        change = paired_difference(random, located, groups=relations)
        cells.append(change_cell(block, "Located - Random", column, change, extra=True))
    share = [row["share"] for row in rows]
    low, high = bootstrap_interval(share, groups=relations)
    cells.append(cell(block, "Located", "parameters", fmean(share), low=low, high=high,
                      unit="share", n=n, edges=fmean([row["edges"] for row in rows]),
                      of_edges=rows[0]["total"]))  # fmt: skip
    return cells


def random_circuit(circuit: Circuit, generator: torch.Generator) -> Circuit:
    """Draw a circuit in which every receiver has as many edges as in the given one."""
    exists, counts = circuit.graph.exists, circuit.edges.sum(0)
    order = torch.rand(exists.shape, generator=generator).masked_fill(~exists, torch.inf)
    ranks = order.argsort(0).argsort(0)
    return Circuit(circuit.graph, (ranks < counts) & exists, circuit.provenance)


def _recalls(
    bench: Workbench, facts: Sequence[Fact], options: Mapping[str, Any], draws: int, seed: int
) -> list[dict[str, Any]]:
    """The answer's rank by each fact's circuit and by random ones, and the circuit's size."""
    removed = removed_for(bench, options, facts)
    about = {"options": dict(options), "draws": draws, "seed": seed, "among": among(facts, options)}

    def of(fact: Fact) -> dict[str, Any]:
        say(f"{bench.name}: recall of {fact.id} by its circuit, and by {draws} random ones")
        circuit = circuit_of(bench.model, fact, options, removed()).on_paths()
        generator = torch.Generator().manual_seed(seed)
        others = [random_circuit(circuit, generator) for _ in range(draws)]
        rank, *random = circuit_ranks(bench.model, fact, [circuit, *others], **removed())
        return {
            "rank": rank,
            "random": random,
            "share": circuit.parameter_share(bench.model),
            "edges": len(circuit),
            "total": circuit.graph.n_edges,
        }

    first = [asked_at(fact)[0] for fact in facts]
    return [
        bench.piece({"recall": prompts_digest([one])} | about, lambda one=one: of(one))
        for one in first
    ]
