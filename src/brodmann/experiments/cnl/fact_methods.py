"""Six methods on the prompts of the same facts, each as one set of neurons, and what it costs.

Only some of them score neurons of a data set. The others are projected, in ways of our own: KN's
set is the union of its facts' neurons; ROME's are all neurons of the layers that restore most,
averaged over facts; KC's are all neurons of the MLPs in the circuit of the mean edge scores; NeFT's
are those that a full fine-tune on the facts has turned most.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from brodmann.data import Fact
from brodmann.errors import InputError
from brodmann.experiments.cnl.fact_sample import asked_at, prompts_digest
from brodmann.experiments.cnl.fact_sets import strongest
from brodmann.experiments.cnl.own_sets import numbers_of, set_of
from brodmann.experiments.cnl.section_3_1 import ThreeMethods
from brodmann.experiments.map_locate import interleaved
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.workbench import Workbench
from brodmann.localize import cnl, dcsn, knowledge_neurons, neft
from brodmann.localize.causal_tracing import causal_tracing
from brodmann.localize.edge_attribution import eap_ig
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.trace import layers_as_neurons
from brodmann.neurons import NeuronScores, NeuronSet


@dataclass(frozen=True, kw_only=True)
class MethodConfig(ThreeMethods):
    """Values of experiments that compare methods; those of :class:`ThreeMethods` and of three more.

    Attributes:
        p: share of a fact's prompts that KN's neurons have to pass in.
        sigma: of the rule of CNL and DCSN.
        share: of all neurons that NeFT takes.
        tuning_steps: of NeFT's full fine-tune.
        lr: its learning rate.
        erasures: random sets beside each.
    """

    p: int | float = 0.7
    sigma: int | float = 6
    share: float = 0.002
    tuning_steps: int = 100
    lr: float = 1e-5
    erasures: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_facts < 4:
            raise InputError(f"Expected n_facts of 4 or more, two a half; got {self.n_facts}.")


@dataclass(frozen=True)
class Located:
    """What a method locates on some facts.

    Attributes:
        whole: on all of them.
        halves: on every second of them, from the first, and on the others.
        seconds: what both halves took together.
        match: what random sets have in common with it: ``"layer"``, or ``"none"`` where it is
            made of whole layers.
        ranked: the neurons of ``whole`` by number, the strongest first; empty where the method
            ranks none.
    """

    whole: NeuronSet
    halves: tuple[NeuronSet, NeuronSet]
    seconds: float
    match: str
    ranked: tuple[int, ...]


Part = Any
"""What a method keeps of one half: whatever its ``select`` can put together."""

METHODS = ("KN", "ROME", "KC", "NeFT", "DCSN", "CNL")
LAYERED = ("ROME", "KC")
"""Methods whose sets are made of whole layers."""


def locate_all(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> dict[str, Located]:
    """Locate on both halves of the facts by every method; each half has a fact of each relation."""
    halves = (list(facts[::2]), list(facts[1::2]))
    found = {}
    for name in METHODS:
        key = {
            "located, ranked": name, "on": prompts_digest(facts), "ids": [one.id for one in facts],
            "options": {one: value for one, value in vars(config).items() if one not in _OUTSIDE},
        }  # fmt: skip
        made = bench.piece(key, lambda name=name: _located(name, config, bench, halves))
        first, second, whole = (set_of(bench, frozenset(one)) for one in made["sets"])
        match = "none" if name in LAYERED else "layer"
        found[name] = Located(whole, (first, second), made["seconds"], match, tuple(made["ranked"]))
    return found


def as_many_as_kn(bench: Workbench, located: Mapping[str, Located]) -> dict[str, Located]:
    """Cut what ranks its neurons to as many as KN has, the strongest; empty where KN has none.

    A larger set harms more, whatever it is made of: methods can be compared at one size only.
    Methods that rank nothing, or have fewer neurons, are left out.
    """
    kn = located["KN"]
    size = len(kn.whole)
    cut = {
        name: replace(one, whole=set_of(bench, frozenset(one.ranked[:size])))
        for name, one in located.items()
        if len(one.ranked) >= size
    }
    return {"KN": kn} | cut if size else {}


_OUTSIDE = ("faithful", "permutations", "erasures", "traced", "circuits", "data", "items")
"""Values that do not decide what is located."""


def _located(
    name: str, config: MethodConfig, bench: Workbench, halves: Sequence[Sequence[Fact]]
) -> dict[str, Any]:
    say(f"{bench.name}: {name} on two halves of {sum(map(len, halves))} facts")
    bench.model  # noqa: B018 (opened before the clock starts)
    part, select = _METHODS[name]
    start = time.perf_counter()
    parts = [part(config, bench, half) for half in halves]
    seconds = time.perf_counter() - start
    sets = [select(config, bench, some) for some in (parts[:1], parts[1:], parts)]
    ranked = _ranked(sets[2], _SCORES[name](parts)) if name in _SCORES else []
    return {"sets": [sorted(numbers_of(one)) for one in sets], "seconds": seconds, "ranked": ranked}


def _ranked(neurons: NeuronSet, scores: NeuronScores) -> list[int]:
    strength = scores.values.abs().flatten().tolist()
    return sorted(numbers_of(neurons), key=lambda number: (-strength[number], number))


def _kn(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    found = knowledge_neurons(
        bench.model, {fact.id: fact.examples() for fact in facts}, t=config.t, p=config.p,
        steps=config.steps, batch_size=bench.batch_size, progress=False,
    )  # fmt: skip
    return [one.neurons for one in found.values()]


def _union(config: MethodConfig, bench: Workbench, parts: Sequence[Part]) -> NeuronSet:
    first, *others = (one for part in parts for one in part)
    for other in others:
        first = first | other
    return first


def _tracing(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    traces = causal_tracing(
        bench.model, facts, kinds=("mlp",), window=config.window, draws=config.draws,
        seed=config.seed, target="answer", progress=False,
    )  # fmt: skip
    return [one.by_layer("mlp") for one in traces]


def _top_layers(config: MethodConfig, bench: Workbench, parts: Sequence[Part]) -> NeuronSet:
    mean = torch.stack([one for part in parts for one in part]).mean(0)
    return layers_as_neurons(bench.model, strongest(mean.tolist(), config.top))


def _circuits(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    first = [asked_at(fact)[0] for fact in facts]
    return [eap_ig(bench.model, one, steps=config.circuit_steps) for one in first]


def _mean_circuit(config: MethodConfig, bench: Workbench, parts: Sequence[Part]) -> NeuronSet:
    scores = [one for part in parts for one in part]
    values = torch.stack([one.values for one in scores]).mean(0)
    mean = EdgeScores(scores[0].graph, values, scores[0].provenance)
    return mean.top(fraction=config.edges).neurons(bench.model)


def _neft(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    training = Training(
        method="full", sample=Sample(config.facts, "all"), neurons=None, lr=config.lr,
        steps=config.tuning_steps, seed=config.seed,
    )  # fmt: skip
    tuned = bench.trained_copy(training, [one for fact in facts for one in fact.examples()])
    return neft(bench.model, tuned.hf)


def _turned(parts: Sequence[Part]) -> NeuronScores:
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    return NeuronScores(
        (first.values + second.values) / 2, first.variance, 1, first.block_means,
        first.block_counts, first.real, first.provenance,
    )  # fmt: skip


def _most_turned(config: MethodConfig, bench: Workbench, parts: Sequence[Part]) -> NeuronSet:
    return _turned(parts).top(fraction=config.share)


def _dcsn(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    examples = {"facts": [one for fact in facts for one in fact.examples()]}
    return dcsn(bench.model, examples, batch_size=bench.batch_size, progress=False)["facts"]


def _cnl(config: MethodConfig, bench: Workbench, facts: Sequence[Fact]) -> Part:
    examples = {"facts": [one for fact in facts for one in fact.examples()]}
    found = cnl(
        bench.model, examples, steps=config.steps, refine=False, batch_size=bench.batch_size,
        progress=False,
    )  # fmt: skip
    return found["facts"]


def _of_both(parts: Sequence[Part]) -> NeuronScores:
    return parts[0] if len(parts) == 1 else interleaved(parts[0], parts[1], {})


def _by_sigma(config: MethodConfig, bench: Workbench, parts: Sequence[Part]) -> NeuronSet:
    return _of_both(parts).select(config.sigma)


_METHODS: dict[str, tuple[Callable[..., Part], Callable[..., NeuronSet]]] = {
    "KN": (_kn, _union),
    "ROME": (_tracing, _top_layers),
    "KC": (_circuits, _mean_circuit),
    "NeFT": (_neft, _most_turned),
    "DCSN": (_dcsn, _by_sigma),
    "CNL": (_cnl, _by_sigma),
}
"""Method -> what it computes of one half, and how it selects from one half, or both."""

_SCORES: dict[str, Callable[[Sequence[Part]], NeuronScores]] = {
    "NeFT": _turned,
    "DCSN": _of_both,
    "CNL": _of_both,
}
"""Method -> its scores of all neurons, from one half, or both; the others have none."""
