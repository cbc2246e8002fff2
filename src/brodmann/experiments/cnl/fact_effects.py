"""What doubling and zeroing a fact's neurons does to its answer, and to another fact's.

Beside every located set stand random ones with as many neurons in each layer, some of them matched
by activation norm besides, and beside the fact's own answer that of another subject of its
relation: neurons without which no answer of this form comes out are not the fact's.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from brodmann.data import Fact
from brodmann.evaluate import random_sets
from brodmann.evaluate.editing import answer_scores
from brodmann.experiments.cnl.fact_sample import prompts_digest
from brodmann.experiments.examples_digest import examples_digest
from brodmann.experiments.partial import say
from brodmann.experiments.training import pairs_digest
from brodmann.experiments.workbench import Workbench
from brodmann.interventions import scaled
from brodmann.neurons import NeuronSet

FACTORS = {"doubled": 2.0, "zeroed": 0.0}


def sibling_of(fact: Fact, pool: Sequence[Fact]) -> Fact | None:
    """Return another fact of the relation with another answer: the next one in the pool, a ring."""
    place = [one.id for one in pool].index(fact.id)
    ring = [*pool[place + 1 :], *pool[:place]]
    fits = (one for one in ring if one.relation == fact.relation and one.answer != fact.answer)
    return next(fits, None)


def effect_rows(
    bench: Workbench,
    facts: Sequence[Fact],
    neurons: Sequence[NeuronSet],
    *,
    draws: int,
    norm_draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure each fact's neurons on its own answer and on a sibling's.

    Activation norms are mean |z| over all prompts of all facts.

    Returns:
        A row for each fact, intervention and answer asked for: ``fact``, ``intervention``,
        ``whose`` ("own" or "other"), ``neurons``, ``located`` (change of log P, nats),
        ``random`` (the same of every random set) and ``by_norm`` (of those that are matched by
        activation norm besides). Facts without neurons have none.
    """
    examples = [example for fact in facts for example in fact.examples()]
    norms = cache(lambda: bench.norms(examples))
    rows = []
    for fact, own in zip(facts, neurons, strict=True):
        if not len(own):
            continue
        other = sibling_of(fact, facts)
        asked = [fact] if other is None else [fact, other]
        key = {"effects": prompts_digest(asked), "of": pairs_digest(own), "draws": draws,
               "norm_draws": norm_draws, "norms": examples_digest(examples), "seed": seed,
               "factors": FACTORS}  # fmt: skip

        def make(asked: Sequence[Fact] = asked, own: NeuronSet = own) -> list[dict[str, Any]]:
            say(f"{bench.name}: {len(own)} neurons of {asked[0].id}, and random sets")
            random = random_sets(own, draws, seed=seed)
            if norm_draws:
                random += random_sets(own, norm_draws, "activation", seed=seed, norms=norms())
            return _measured(bench, asked, [own, *random], draws)

        rows += bench.piece(key, make)
    return rows


def _measured(
    bench: Workbench, asked: Sequence[Fact], sets: Sequence[NeuronSet], draws: int
) -> list[dict[str, Any]]:
    """Scale the located set and each random one; the first ``draws`` of these are by layer."""
    texts = [(fact.prompt, fact.delimiter, fact.answer) for fact in asked]
    before = _log_probabilities(bench, texts)
    rows = []
    for intervention, factor in FACTORS.items():
        changes = []
        for one in sets:
            with scaled(bench.model, one, by=factor):
                after = _log_probabilities(bench, texts)
            changes.append([a - b for a, b in zip(after, before, strict=True)])
        for place, whose in enumerate(("own", "other")[: len(asked)]):
            located, *random = (change[place] for change in changes)
            rows.append(
                {
                    "fact": asked[0].id,
                    "intervention": intervention,
                    "whose": whose,
                    "neurons": len(sets[0]),
                    "located": located,
                    "random": random[:draws],
                    "by_norm": random[draws:],
                }
            )
    return rows


def _log_probabilities(bench: Workbench, texts: Sequence[tuple[str, str, str]]) -> list[float]:
    found = [one.logprob for one in answer_scores(bench.model, texts)]
    assert all(map(math.isfinite, found))
    return found
