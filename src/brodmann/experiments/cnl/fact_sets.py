"""What three families of methods locate for single prompts of facts: neurons, layers, edges."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from brodmann.data import Fact
from brodmann.experiments.cnl.alike import Universe
from brodmann.experiments.cnl.fact_sample import asked_at, prompts_digest
from brodmann.experiments.cnl.own_sets import own_sets
from brodmann.experiments.partial import say
from brodmann.experiments.workbench import Workbench
from brodmann.localize.causal_tracing import traces
from brodmann.localize.circuits import Circuit
from brodmann.localize.edge_attribution import eap, eap_ig
from brodmann.localize.sender_means import sender_means
from brodmann.models.language_model import LanguageModel

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
    answers otherwise is still one of this fact. The noise is measured by the embeddings of all
    facts' subjects, as they stand in all prompts.
    """
    options = {"window": window, "draws": draws, "seed": seed, "target": "answer"}
    asked = [one for fact in facts for one in asked_at(fact)]

    def of(fact: Fact) -> list[list[float]]:
        say(f"{bench.name}: tracing {fact.id}")
        others = {one.id for one in facts} - {fact.id}
        found = traces(bench.model, asked, kinds=("mlp",), tokens="subject-last", done=others,
                       progress=False, **options)  # fmt: skip
        return [one.by_layer("mlp").tolist() for one in found]

    effects = []
    for fact in facts:
        key = {"traced": prompts_digest([fact]), "noise": prompts_digest(facts),
               "seeded by": fact.id, "options": options}  # fmt: skip
        effects += bench.piece(key, lambda fact=fact: of(fact))
    return effects


def strongest(effects: Sequence[float], k: int) -> tuple[int, ...]:
    """Return the k layers with the largest effects, the strongest first."""
    return tuple(sorted(range(len(effects)), key=lambda layer: -effects[layer])[:k])


def circuit_of(
    model: LanguageModel, fact: Fact, options: Mapping[str, Any], removed: Mapping[str, Any]
) -> Circuit:
    """Locate the circuit of a fact's first prompt by EAP-IG, or by EAP.

    Args:
        model: the model.
        fact: what is asked.
        options: ``edges`` (what share of the model's, the strongest, on paths or not), ``steps`` of
            EAP-IG (None: EAP), and what removed edges carry, ``ablation``: ``"zero"``, as in the
            paper, or ``"mean"``.
        removed: what stands in for removed edges, by :func:`removed_for`.
    """
    if options["steps"] is None:
        scores = eap(model, fact, **removed)
    else:
        scores = eap_ig(model, fact, steps=options["steps"], **removed)
    return scores.top(fraction=options["edges"], prune=False)


def removed_for(
    bench: Workbench, options: Mapping[str, Any], facts: Sequence[Fact]
) -> Callable[[], dict[str, Any]]:
    """What stands in for removed edges, as arguments of the functions that remove them.

    The mean is taken over the first prompts of all facts, once, when it is first asked for: a
    result that is read from the cache needs none.
    """

    @cache
    def made() -> dict[str, Any]:
        mean = options["ablation"] == "mean"
        means = sender_means(bench.model, facts) if mean else None
        return {"ablation": options["ablation"], "reference": means}

    return made


def among(facts: Sequence[Fact], options: Mapping[str, Any]) -> str | None:
    """A digest of the prompts that the mean is taken over, for keys."""
    return prompts_digest(facts) if options["ablation"] == "mean" else None


def circuit_edges(
    bench: Workbench, facts: Sequence[Fact], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The edges of each prompt's circuit.

    Args:
        bench: the model.
        facts: what is asked.
        options: see :func:`circuit_of`.

    Returns:
        ``edges`` (numbers of each prompt's edges), ``universe`` (what they are drawn from),
        ``share`` (of the model's parameters, each prompt's).
    """
    removed = removed_for(bench, options, facts)

    def of(fact: Fact) -> list[dict[str, Any]]:
        say(f"{bench.name}: circuits of {fact.id}")
        rows = []
        for one in asked_at(fact):
            circuit = circuit_of(bench.model, one, options, removed())
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
        key = {"circuits": prompts_digest([fact]), "options": dict(options),
               "among": among(facts, options)}  # fmt: skip
        rows += bench.piece(key, lambda fact=fact: of(fact))
    return {
        "edges": [frozenset(row["edges"]) for row in rows],
        "universe": Universe(rows[0]["places"], (rows[0]["total"],)),
        "share": [row["share"] for row in rows],
    }
