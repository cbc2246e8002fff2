"""New answers and neighbours for facts that are to be edited, where the data name none."""

from collections.abc import Sequence
from dataclasses import replace

from brodmann.data import Fact
from brodmann.experiments.cnl.fact_effects import sibling_of

NEIGHBOURS = 10
"""Of a fact, at most, where the data name none: as many as CounterFact has."""


def editable(facts: Sequence[Fact], pool: Sequence[Fact]) -> list[Fact]:
    """Give every fact a new answer and neighbours, where the data name none.

    The answer is that of another subject of its relation, and the neighbours are other subjects
    whose answer it is not; facts that have no such other are left out.

    Args:
        facts: what is to be edited.
        pool: the facts that answers and neighbours are taken from; ``facts`` are among them.
    """
    found = []
    for fact in facts:
        other = sibling_of(fact, pool)
        target = fact.target_new or (None if other is None else other.answer)
        if target is None:
            continue
        beside = [one for one in pool if one.relation == fact.relation and one.id != fact.id]
        neighbours = tuple((one.prompt, one.answer) for one in beside if one.answer != target)
        kept = fact.neighbours or neighbours[:NEIGHBOURS]
        found.append(replace(fact, target_new=target, neighbours=kept))
    return found


def replaced(fact: Fact) -> Fact:
    """Return a fact with its first prompt only: an edit is made at this one."""
    return Fact(id=fact.id, subject=fact.subject, relation=fact.relation, prompt=fact.prompt,
                answer=fact.answer, delimiter=fact.delimiter)  # fmt: skip
