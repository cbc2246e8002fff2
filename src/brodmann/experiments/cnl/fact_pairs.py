"""Prompts of facts, compared in pairs: what the fact shares, the wording, the relation, the answer.

That paraphrases of a fact share neurons says nothing of the fact while it is not compared with
another subject's: prompts of one relation share their words, their form and the kind of answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from brodmann.data import Fact
from brodmann.evaluate import permutation_p
from brodmann.experiments.cells import Cell, Row, only
from brodmann.experiments.claims import Judged, above, below
from brodmann.experiments.cnl.alike import Alike, Rate, Universe, alike
from brodmann.experiments.cnl.fact_sample import wording

FACT = "same fact, other wording"
WORDING = "other subject of the relation, same wording"
RELATION = "other subject of the relation, other wording"
ANSWER = "other fact with the same answer, other wording"
OTHER = "fact of another relation"
CONTRASTS: Mapping[str, str] = {
    "fact - relation": RELATION,
    "fact - wording": WORDING,
    "fact - answer": ANSWER,
}
"""Contrast -> the kind that is taken from :data:`FACT`."""

ANSWERED_PAIRS, ANSWERED_CONTRASTS = "pairs of answered prompts", "contrasts of answered prompts"
CLAIMED_OF_ANSWERED = ("fact - relation", "fact - wording")
"""Contrasts of prompts that are both answered, on which there is a claim."""

MEASURES = {"overlap": "overlap", "IoU": "iou"}


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts of facts, fact by fact, all facts with as many.

    Attributes:
        facts: them.
        answered: which of the prompts the model answers by itself; empty where it was not asked.
    """

    facts: Sequence[Fact]
    answered: Sequence[bool] = ()

    @property
    def n_prompts(self) -> int:
        """Prompts of each fact."""
        return len(self.facts[0].prompts)

    @cached_property
    def units(self) -> list[int]:
        """The number of each prompt's fact."""
        return [number for number, fact in enumerate(self.facts) for _ in fact.prompts]

    @cached_property
    def relations(self) -> list[int]:
        """The number of each prompt's relation: what is alike about its facts goes together."""
        numbers: dict[str, int] = {}
        of = [numbers.setdefault(fact.relation, len(numbers)) for fact in self.facts]
        return [of[number] for number in self.units]

    @cached_property
    def kinds(self) -> dict[str, Bool[np.ndarray, "n n"]]:
        """Which pairs of prompts are of which kind.

        Other subjects of a relation have another answer, so that the kinds are apart.
        """
        fact = np.asarray(self.units)
        relation, answer = (
            np.asarray([getattr(self.facts[number], name) for number in self.units])
            for name in ("relation", "answer")
        )
        asked = np.asarray([wording(one, prompt) for one in self.facts for prompt in one.prompts])
        same_fact, same_relation, same_answer, same_wording = (
            of[:, None] == of for of in (fact, relation, answer, asked)
        )
        siblings = same_relation & ~same_fact & ~same_answer
        return {
            FACT: same_fact & ~same_wording,
            WORDING: siblings & same_wording,
            RELATION: siblings & ~same_wording,
            ANSWER: same_answer & ~same_fact & ~same_wording,
            OTHER: ~same_relation & ~same_answer,
        }

    @property
    def answered_kinds(self) -> dict[str, Bool[np.ndarray, "n n"]]:
        """The same of pairs of prompts that the model answers both."""
        of = np.asarray(self.answered, dtype=bool)
        return {kind: which & of[:, None] & of for kind, which in self.kinds.items()}


def pair_cells(
    block: str,
    name: str,
    asked: Asked,
    sets: Sequence[frozenset[int]],
    universe: Universe,
    *,
    permutations: int,
    seed: int,
) -> list[Row]:
    """Compare what was located at every prompt with what was at every other.

    Intervals are over relations, ``n`` of them: two facts of one relation are compared with each
    other and have its wording and kind of answer in common, so that they are not independent.

    Args:
        block: of the paper's cell, the mean over paraphrases of a fact.
        name: of the method: the row.
        asked: the prompts.
        sets: what was located, prompt by prompt.
        universe: what it was drawn from.
        permutations: of the facts of a relation; 0 for no p.
        seed: of all draws.
    """
    cells = []
    for column, measure in MEASURES.items():
        likeness = alike(sets, universe, asked.relations, measure=measure, seed=seed)
        rates = {kind: likeness.rate(which) for kind, which in asked.kinds.items()}
        draws = dealt(likeness, asked, permutations, seed)
        tested = permutation_p(rates[FACT].value, draws)
        more = {"extra": True} if column != "overlap" else {}
        cells.append(rates[FACT].cell(block, name, column, p=tested.p, rank=tested.rank,
                                      size=_mean_size(sets), **more))  # fmt: skip
        cells += [
            rate.cell(f"{name}: pairs of prompts", kind, column, extra=True)
            for kind, rate in rates.items()
        ]
        cells += [
            _difference(rates, other).cell(f"{name}: contrasts", contrast, column, extra=True)
            for contrast, other in CONTRASTS.items()
        ]
        if asked.answered and column == "overlap":
            cells += _of_answered(name, asked, likeness)
    return cells


def _of_answered(name: str, asked: Asked, likeness: Alike) -> list[Row]:
    """The same without prompts that the model does not answer: there it may not know the fact."""
    rates = {kind: likeness.rate(which) for kind, which in asked.answered_kinds.items()}
    return [
        *(
            rate.cell(f"{name}: {ANSWERED_PAIRS}", kind, "overlap", extra=True)
            for kind, rate in rates.items()
        ),
        *(
            _difference(rates, other).cell(
                f"{name}: {ANSWERED_CONTRASTS}", contrast, "overlap", extra=True
            )
            for contrast, other in CONTRASTS.items()
        ),
    ]


def dealt(likeness: Alike, asked: Asked, permutations: int, seed: int) -> list[float]:
    """The mean over paraphrases where each prompt is dealt to a fact of its relation at random.

    Where p is small, prompts of one fact agree more than prompts of its relation.
    """
    n = asked.n_prompts
    places = np.arange(len(asked.units)).reshape(-1, n)
    relation = np.asarray([fact.relation for fact in asked.facts])
    groups = [np.flatnonzero(relation == name) for name in dict.fromkeys(relation.tolist())]
    rng = np.random.default_rng([seed, 1])
    found = []
    for _ in range(permutations):
        moved = places.copy()
        for group in groups:
            for place in range(n):
                moved[group, place] = places[rng.permutation(group), place]
        pairs = [likeness.values[moved[:, a], moved[:, b]] for a, b in combinations(range(n), 2)]
        found.append(float(np.nanmean(pairs)))
    return found


def judged_pairs(
    method: str, name: str, block: str, cells: Sequence[Cell], faithful: float
) -> list[Judged]:
    """Judge the claims about a method; see :func:`claims_about`."""
    value = only(cells, block=block, row=name, column="overlap")
    judged = [below(f"{method}-overlap", value, faithful, f"{name}: overlap of paraphrases")]
    for contrast, other in CONTRASTS.items():
        found = only(cells, block=f"{name}: contrasts", row=contrast, column="overlap")
        judged.append(above(_claim(method, contrast), found, 0, f"{name}: {FACT}, minus {other}"))
    said = f"{name}, prompts that are answered"
    value = only(cells, block=f"{name}: {ANSWERED_PAIRS}", row=FACT, column="overlap")
    judged.append(below(f"{method}-answered-overlap", value, faithful, f"{said}: overlap"))
    for contrast in CLAIMED_OF_ANSWERED:
        place = f"{name}: {ANSWERED_CONTRASTS}"
        found = only(cells, block=place, row=contrast, column="overlap")
        what = f"{said}: {FACT}, minus {CONTRASTS[contrast]}"
        judged.append(above(_claim(f"{method}-answered", contrast), found, 0, what))
    return judged


def _claim(about: str, contrast: str) -> str:
    return f"{about}-{contrast.rpartition(' ')[2]}"


def claims_about(method: str, what: str, printed: str) -> dict[str, str]:
    """State what is claimed of a method, before any run.

    Args:
        method: its short name.
        what: what it locates.
        printed: the paper's overlap.
    """
    return {
        f"{method}-overlap": f"{what} of paraphrases of one fact overlap by less than a half: the "
        f"method is not faithful (the paper: {printed}).",
        f"{method}-relation": f"{what} of two paraphrases of a fact share more than those of two "
        "facts of one relation, asked in different words: some of it is particular to the fact.",
        f"{method}-wording": f"{what} of two paraphrases of a fact share more than those of two "
        "facts of one relation, asked in the same words: the fact counts for more than its "
        "wording.",
        f"{method}-answer": f"{what} of two paraphrases of a fact share more than those of two "
        "facts with the same answer: it is not the answer alone that they share.",
        f"{method}-answered-overlap": f"{what} of paraphrases of one fact, both answered by the "
        "model, overlap by less than a half.",
        f"{method}-answered-relation": f"{what} of two answered paraphrases of a fact share more "
        "than those of two facts of one relation, answered in different words.",
        f"{method}-answered-wording": f"{what} of two answered paraphrases of a fact share more "
        "than those of two facts of one relation, answered in the same words.",
    }


def _difference(rates: Mapping[str, Rate], other: str) -> Rate:
    return rates[FACT] - rates[other]


def _mean_size(sets: Sequence[frozenset[int]]) -> float:
    return sum(len(one) for one in sets) / len(sets)
