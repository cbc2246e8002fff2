"""What three families of methods locate for single prompts of facts: neurons, layers, edges."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from brodmann.data import Fact
from brodmann.experiments.cnl.alike import Universe
from brodmann.experiments.cnl.fact_sample import asked_at, prompts_digest
from brodmann.experiments.cnl.own_sets import own_sets
from brodmann.experiments.partial import say
from brodmann.experiments.workbench import Workbench
from brodmann.localize.causal_tracing import causal_tracing
from brodmann.localize.edge_attribution import eap_ig

T = TypeVar("T")


def kn_sets(
    bench: Workbench, facts: Sequence[Fact], *, steps: int, t: int | float
) -> list[frozenset[int]]:
    """The neurons that KN finds at each prompt alone: above t times the largest attribution."""
    examples = [example for fact in facts for example in fact.examples()]
    options = {"steps": steps, "quadrature": "left"}
    return own_sets(bench, examples, "kn", options, {"KN": {"t": t}})["KN"]


def refined(sets: Sequence[frozenset[int]], p: int | float) -> frozenset[int]:
    """Return what is in more than a share p of the sets of a fact's prompts (KN's refining)."""
    votes = Counter(element for one in sets for element in one)
    return frozenset(element for element, n in votes.items() if n / len(sets) > p)


def by_fact(facts: Sequence[Fact], found: Sequence[T]) -> list[list[T]]:
    """Return what was found prompt by prompt, fact by fact."""
    left = iter(found)
    return [[next(left) for _ in fact.prompts] for fact in facts]


def traced_effects(
    bench: Workbench, facts: Sequence[Fact], *, window: int, draws: int, seed: int
) -> list[list[float]]:
    """How much each layer's MLP output restores of the answer, prompt by prompt.

    At the subject's last token, as :func:`brodmann.localize.trace.top_layers` reads it. The fact's
    answer is looked at, by its first token, and not the model's own: a paraphrase that the model
    answers otherwise is still one of this fact.
    """
    options = {"window": window, "draws": draws, "seed": seed, "target": "answer"}

    def of(fact: Fact) -> list[list[float]]:
        say(f"{bench.name}: tracing {fact.id}")
        found = causal_tracing(
            bench.model, asked_at(fact), kinds=("mlp",), progress=False, **options
        )
        return [one.effect("mlp")[one.subject[1] - 1].tolist() for one in found]

    effects = []
    for fact in facts:
        key = {"traced": prompts_digest([fact]), "options": options}
        effects += bench.piece(key, lambda fact=fact: of(fact))
    return effects


def strongest(effects: Sequence[float], k: int) -> tuple[int, ...]:
    """Return the k layers with the largest effects, the strongest first."""
    return tuple(sorted(range(len(effects)), key=lambda layer: -effects[layer])[:k])


def circuit_edges(
    bench: Workbench, facts: Sequence[Fact], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The edges of each prompt's circuit.

    Args:
        bench: the model.
        facts: what is asked.
        options: ``edges`` (how many of the strongest) and ``steps`` of EAP-IG; removed edges carry
            nothing (zero ablation, as in the paper).

    Returns:
        ``edges`` (numbers of each prompt's edges), ``universe`` (what they are drawn from),
        ``share`` (of the model's parameters, each prompt's).
    """

    def of(fact: Fact) -> list[dict[str, Any]]:
        say(f"{bench.name}: circuits of {fact.id}")
        rows = []
        for one in asked_at(fact):
            scores = eap_ig(bench.model, one, steps=options["steps"])
            circuit = scores.top(options["edges"], prune=False)
            mask = circuit.edges.flatten()
            rows.append(
                {
                    "edges": mask.nonzero()[:, 0].tolist(),
                    "total": circuit.graph.n_edges,
                    "places": mask.numel(),
                    "share": circuit.parameter_share(bench.model),
                }
            )
        return rows

    rows = []
    for fact in facts:
        key = {"circuits": prompts_digest([fact]), "options": dict(options)}
        rows += bench.piece(key, lambda fact=fact: of(fact))
    return {
        "edges": [frozenset(row["edges"]) for row in rows],
        "universe": Universe(rows[0]["places"], (rows[0]["total"],)),
        "share": [row["share"] for row in rows],
    }
