"""Knowledge Neurons of facts (cnl.txt, Eq. 2): thresholds, and refinement over paraphrases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.attribution import attribute
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.shapes import LayerNeuron

SIGNS = ("positive", "negative", "both")


@dataclass(frozen=True, eq=False)
class KnowledgeNeurons:
    """What one fact's prompts say about every neuron.

    Attributes:
        scores: mean attribution over the prompts.
        votes: share of the prompts in which a neuron passes the threshold, from 0 to 1; negative
            where it suppresses the answer. A neuron that does both counts the difference.
        neurons: those whose share of votes is above p.
    """

    scores: NeuronScores
    votes: LayerNeuron
    neurons: NeuronSet


def knowledge_neurons(
    model: LanguageModel,
    facts: Mapping[str, Sequence[Example]],
    *,
    t: int | float = 0.2,
    p: int | float = 0.7,
    sign: str = "positive",
    target: str = "mean",
    site: str = "down_in",
    quadrature: str = "left",
    steps: int = 20,
    chat_template: str = "off",
    batch_size: int | Literal["auto"] = "auto",
    memory_gb: int | float | None = None,
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> dict[str, KnowledgeNeurons]:
    """The neurons that express each fact, kept where enough of its prompts agree.

    Attr(w) = w / m * sum over i of dP(answer | i / m * w) / dw   (cnl.txt, Eq. 2), with i from 0
    to m - 1. In each prompt a neuron passes when its attribution is above t times the largest
    one; it is kept when it passes in more than a share p of the fact's prompts. What differs from
    the paper: all of a layer's neurons are scaled together, as in all code; the site is the down
    projection's input; neurons that suppress the answer can be kept as well (``sign``).

    Args:
        model: the model to look into.
        facts: fact -> its prompts: paraphrases with the same answer; one prompt is enough.
        t: threshold, as a share of the prompt's largest attribution.
        p: share of prompts.
        sign: ``"positive"`` (the paper), ``"negative"`` (below t times the lowest) or ``"both"``
            (above t times the largest |attribution|).
        target: answer tokens, as for :func:`brodmann.localize.cnl.cnl`; so are ``site``,
            ``quadrature`` and ``steps``.
        site: the vector that is scaled.
        quadrature: rule of the integral.
        steps: gradient evaluations (m).
        chat_template: ``"auto"`` puts the prompt into the user's turn.
        batch_size: prompts per batch, or ``"auto"``.
        memory_gb: what tails may take beside the model; None: a share of what is free.
        checkpoint: a file to keep the running sums in, and to go on from.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        Fact -> its neurons.

    Raises:
        InputError: a threshold outside [0, 1), an unknown option.
        DataError: no prompts, or one that cannot be tokenised apart.
    """
    _check(t, p, sign)
    sums, provenance = attribute(
        model, facts, VotedSums(model, len(facts), t, sign), method="kn", target=target, site=site,
        quadrature=quadrature, steps=steps, refine=False, chat_template=chat_template,
        batch_size=batch_size, memory_gb=memory_gb, until_stable=None, checkpoint=checkpoint,
        progress=progress,
    )  # fmt: skip
    rule = {"t": t, "p": p, "sign": sign}
    return {
        fact: _found(sums, index, len(facts), rule, provenance | {"group": fact})
        for index, fact in enumerate(facts)
    }


def facts_of(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Group prompts by the fact that they ask for: the column ``fact`` of the data.

    Where no example names one, all are prompts of one fact.

    Raises:
        InputError: some examples name a fact and some do not.
    """
    named = [example for example in examples if "fact" in example.meta]
    if not named:
        return {"examples": list(examples)}
    if len(named) < len(examples):
        raise InputError(
            f"Expected 'fact' in every row or in none; {len(examples) - len(named)} of "
            f"{len(examples)} rows have none. Name the fact that each prompt asks for."
        )
    facts: dict[str, list[Example]] = {}
    for example in named:
        facts.setdefault(str(example.meta["fact"]), []).append(example)
    return facts


class VotedSums(ScoreSums):
    """Sums of scores, and behind them as many groups again with the sums of votes."""

    def __init__(self, model: LanguageModel, n_groups: int, t: int | float, sign: str) -> None:
        """Start from zero; ``t`` and ``sign`` as in :func:`knowledge_neurons`."""
        super().__init__(model, 2 * n_groups)
        self._t, self._sign = t, sign
        self.rule = {"t": t, "sign": sign}

    def add(
        self,
        scores: Sequence[Float[Tensor, "B _"]],
        groups: Int[Tensor, "B"],
        samples: Int[Tensor, "B"],
    ) -> None:
        """Add a batch of samples, and their votes."""
        super().add(scores, groups, samples)
        super().add(_votes(scores, self._t, self._sign), groups + self.n_groups // 2, samples)


def _votes(
    scores: Sequence[Float[Tensor, "B _"]], t: int | float, sign: str
) -> list[Float[Tensor, "B _"]]:
    """1 where a neuron promotes the answer past the threshold, -1 where it suppresses it."""

    def extreme(values: list[Tensor]) -> Tensor:
        return torch.stack([layer.amax(1).cpu() for layer in values]).amax(0)

    up = extreme([layer.clamp_min(0) for layer in scores])
    down = extreme([(-layer).clamp_min(0) for layer in scores])
    both = torch.maximum(up, down)
    infinite = torch.full_like(both, torch.inf)
    over = {"positive": up, "both": both}.get(sign, infinite)
    under = {"negative": down, "both": both}.get(sign, infinite)
    return [
        (layer > t * over.to(layer)[:, None]).to(layer)
        - (-layer > t * under.to(layer)[:, None]).to(layer)
        for layer in scores
    ]


def _found(
    sums: ScoreSums, fact: int, n_facts: int, rule: dict[str, Any], provenance: dict[str, Any]
) -> KnowledgeNeurons:
    scores = sums.scores(fact, provenance)
    votes = sums.scores(n_facts + fact, provenance).values
    passed = votes.abs() > rule["p"]
    neurons = NeuronSet.from_mask(passed, scores.real, provenance | {"rule": rule})
    return KnowledgeNeurons(scores, votes, neurons)


def _check(t: int | float, p: int | float, sign: str) -> None:
    for name, value in (("t", t), ("p", p)):
        if not 0 <= value < 1:
            raise InputError(f"Expected {name} from 0 to below 1; got {value:g}.")
    if sign not in SIGNS:
        raise InputError(f"Expected sign out of {', '.join(SIGNS)}; got '{sign}'.")


def kn(
    model: LanguageModel, groups: Mapping[str, Sequence[Example]], **options: Any
) -> dict[str, NeuronScores]:
    """The mean attributions of :func:`knowledge_neurons`, as every method gives scores."""
    return {
        name: found.scores for name, found in knowledge_neurons(model, groups, **options).items()
    }
