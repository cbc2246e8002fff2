"""cnl-section-3.1: do KN, causal tracing and circuits find the same for paraphrases of a fact?

The paper calls an overlap of 37% between paraphrases low. What it is to be compared with is not
there: the overlap of prompts about different facts. If two subjects of one relation, asked in the
same words, overlap as much, then what is located belongs to the words; if paraphrases overlap more
than two facts of their relation do, something of the fact is in it, however small the overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brodmann.data import Fact
from brodmann.errors import InputError
from brodmann.experiments.cells import Cell, Row, cell
from brodmann.experiments.check_values import check_share
from brodmann.experiments.claims import Judged
from brodmann.experiments.cnl.alike import Universe
from brodmann.experiments.cnl.fact_pairs import Asked, claims_about, judged_pairs, pair_cells
from brodmann.experiments.cnl.fact_sample import FactConfig, FactSample, chosen_facts
from brodmann.experiments.cnl.fact_sets import circuit_edges, kn_sets, strongest, traced_effects
from brodmann.experiments.cnl.own_sets import neuron_universe
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.workbench import Workbench

BLOCK = "Section 3.1"
METHODS = {"kn": "KN", "rome": "ROME", "kc": "KC", "kc-mean": "KC, mean"}
"""Method -> its row: what it locates are neurons, the top traced layers, and edges (where removed
ones carry nothing, as in the paper, or their mean)."""

CLAIMS = {
    **claims_about("kn", "KN's neurons", "37.3%, or 27.5% in its introduction"),
    **claims_about("rome", "The three layers that tracing finds", "32.7%, or 37.3%"),
    **claims_about("kc", "The edges of circuits", "7.2%, or 32.7%"),
    **claims_about("kc-mean", "The edges of mean-ablation circuits", "zero ablation only"),
}


@dataclass(frozen=True, kw_only=True)
class ThreeMethods(FactConfig):
    """Values of :class:`FactConfig`, and of KN, tracing and circuits.

    Attributes:
        traced: how many of the facts are traced: the first of them.
        circuits: of how many circuits are made.
        steps: gradient evaluations of KN's integrals.
        t: KN's threshold, as a share of the largest attribution.
        top: layers of a fact.
        window: layers whose MLP outputs are restored together.
        draws: of the noise.
        edges: of a circuit, as a share of the model's.
        circuit_steps: of EAP-IG.
        faithful: the overlap below which a method is called unfaithful.
        permutations: of the facts of a relation.
    """

    traced: int = 40
    circuits: int = 40
    steps: int = 20
    t: int | float = 0.2
    top: int = 3
    window: int = 10
    draws: int = 10
    edges: int | float = 0.07
    circuit_steps: int = 5
    faithful: float = 0.5
    permutations: int = 999

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("traced", "circuits"):
            if getattr(self, name) < 2:
                raise InputError(f"Expected {name} of 2 facts or more; got {getattr(self, name)}.")
        check_share("edges", self.edges)


@dataclass(frozen=True, kw_only=True)
class Section31(ThreeMethods):
    """Values of cnl-section-3.1; those of :class:`ThreeMethods`, and one more.

    Attributes:
        answered: at how many of its prompts the model has to answer a fact; wordings that it
            answers come first. The paper does not ask: at a paraphrase that a model answers
            otherwise it may recall something else, and then a low overlap says nothing of where
            the fact is.
    """

    answered: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.answered <= self.prompts:
            raise InputError(
                f"Expected answered from 1 to {self.prompts} prompts; got {self.answered}."
            )


def run(config: Section31, bench: Workbench) -> Tables:
    """Locate at every prompt by each method, and compare the prompts."""
    sample = chosen_facts(config, bench, config.answered)
    cells = [*sample.cells]
    cells += _kn(config, bench, sample)
    cells += _tracing(config, bench, sample)
    cells += _circuits(config, bench, sample, "KC", "zero")
    own = _circuits(config, bench, sample, "KC, mean", "mean")
    cells += [one | {"extra": True} for one in own]
    return {"cells": cells, "facts": fact_rows(sample)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Section31) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    return [
        one
        for method, name in METHODS.items()
        for one in judged_pairs(method, name, BLOCK, tables["cells"], config.faithful)
    ]


def fact_rows(sample: FactSample) -> list[Row]:
    """Return the table ``facts``: what was asked."""
    return [
        {
            "fact": fact.id,
            "relation": fact.relation,
            "subject": fact.subject,
            "answer": fact.answer,
            "prompts": list(fact.prompts),
        }
        for fact in sample.facts
    ]


def _kn(config: Section31, bench: Workbench, sample: FactSample) -> list[Row]:
    sets = kn_sets(bench, sample.facts, steps=config.steps, t=config.t)
    universe = neuron_universe(bench)
    share = [len(one) / sum(universe.sizes) for one in sets]
    return [
        *_compared(config, "KN", _asked(sample.facts, sample), sets, universe),
        _share_cell("KN", "share of neurons", share),
    ]


def _tracing(config: Section31, bench: Workbench, sample: FactSample) -> list[Row]:
    facts = sample.facts[: config.traced]
    effects = traced_effects(
        bench, facts, window=config.window, draws=config.draws, seed=config.seed
    )
    universe = Universe(bench.model.n_layers, (bench.model.n_layers,))
    sets = [frozenset(strongest(one, config.top)) for one in effects]
    return [
        *_compared(config, "ROME", _asked(facts, sample), sets, universe),
        _share_cell("ROME", "share of layers", [config.top / bench.model.n_layers]),
    ]


def _circuits(
    config: Section31, bench: Workbench, sample: FactSample, name: str, ablation: str
) -> list[Row]:
    facts = sample.facts[: config.circuits]
    options = {"edges": float(config.edges), "steps": config.circuit_steps, "ablation": ablation}
    found = circuit_edges(bench, facts, options)
    return [
        *_compared(config, name, _asked(facts, sample), found["edges"], found["universe"]),
        _share_cell(name, "share of parameters", found["share"]),
    ]


def _asked(first: Sequence[Fact], sample: FactSample) -> Asked:
    """The first facts of a sample."""
    return Asked(first, sample.answered[: sum(len(fact.prompts) for fact in first)])


def _compared(
    config: Section31,
    name: str,
    asked: Asked,
    sets: Sequence[frozenset[int]],
    universe: Universe,
) -> list[Row]:
    return pair_cells(BLOCK, name, asked, sets, universe,
                      permutations=config.permutations, seed=config.seed)  # fmt: skip


def _share_cell(name: str, what: str, share: Sequence[float]) -> Row:
    """How much of the model one prompt's neurons, layers or edges are, on average."""
    mean = sum(share) / len(share)
    return cell("Size", name, what, mean, unit="share", n=len(share), extra=True)


PRESETS = {
    "smoke": Section31(
        facts="own",
        n_facts=4,
        prompts=3,
        known=False,
        answered=1,
        traced=4,
        circuits=4,
        steps=2,
        top=1,
        window=1,
        draws=2,
        edges=0.2,
        circuit_steps=2,
        permutations=19,
    ),
    "cpu": Section31(
        facts="known_1000",
        n_facts=24,
        traced=24,
        circuits=24,
        steps=5,
        draws=3,
        edges=0.07,
        circuit_steps=5,
    ),
    "paper": Section31(n_facts=1000, traced=1000, circuits=1000),
}

MODELS = {
    "smoke": ("tiny-random",),
    "cpu": ("smollm2-135m",),
    "paper": ("EleutherAI/gpt-j-6b",),
}
"""Preset -> the models that it is for."""

EXPERIMENTS.add(
    "cnl-section-3.1",
    Experiment(
        id="cnl-section-3.1",
        title="Fidelity of KN, tracing and circuits over paraphrases",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
        needs="facts",
    ),
)
