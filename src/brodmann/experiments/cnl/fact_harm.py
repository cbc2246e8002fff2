"""How the answers of facts fall when a set is erased, beside the most harmful random set."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from brodmann.data import Fact
from brodmann.evaluate import Difference, paired_difference, random_sets
from brodmann.evaluate.editing import answer_scores
from brodmann.experiments.cnl.fact_methods import Located, MethodConfig
from brodmann.experiments.cnl.fact_sample import prompts_digest
from brodmann.experiments.training import pairs_digest
from brodmann.experiments.workbench import Workbench
from brodmann.interventions import erased
from brodmann.neurons import NeuronSet


def harm_of(
    config: MethodConfig, bench: Workbench, facts: Sequence[Fact], one: Located
) -> dict[str, Any]:
    """Measure how each fact's answer falls when a set is erased.

    Args:
        config: how many random sets stand beside it, and their seed.
        bench: the model.
        facts: whose answers.
        one: the set, and what random ones have in common with it.

    Returns:
        ``located``, and ``random`` (one for each set), each with ``greedy`` (0 or 1) and
        ``logprob`` (nats), fact by fact: what was there before, minus what is left.
    """
    drawn = random_sets(one.whole, config.erasures, one.match, seed=config.seed)
    before = _answers(bench, facts, None)

    def harm(neurons: NeuronSet) -> dict[str, list[float]]:
        after = _answers(bench, facts, neurons)
        return {
            key: [a - b for a, b in zip(before[key], after[key], strict=True)] for key in before
        }

    return {"located": harm(one.whole), "random": [harm(other) for other in drawn]}


def beyond_worst(effects: Mapping[str, Any], key: str, facts: Sequence[Fact]) -> Difference:
    """What a set harms more than the random set that harms most; intervals are over relations."""
    return paired_difference(
        _worst(effects, key), effects["located"][key], groups=[one.relation for one in facts]
    )


def more_harm(
    effects: Mapping[str, Any], other: Mapping[str, Any], key: str, facts: Sequence[Fact]
) -> Difference:
    """What a set harms more than another one, each beyond its most harmful random set.

    Intervals are over relations.
    """
    beyond = [
        [own - random for own, random in zip(one["located"][key], _worst(one, key), strict=True)]
        for one in (other, effects)
    ]
    return paired_difference(*beyond, groups=[one.relation for one in facts])


def _worst(effects: Mapping[str, Any], key: str) -> list[float]:
    """The harm of the random set that harms most, fact by fact."""
    return max((harm[key] for harm in effects["random"]), key=sum)


def _answers(
    bench: Workbench, facts: Sequence[Fact], without: NeuronSet | None
) -> dict[str, list[float]]:
    texts = [(fact.prompt, fact.delimiter, fact.answer) for fact in facts]

    def make() -> dict[str, list[float]]:
        with erased(bench.model, without) if without is not None else nullcontext():
            found = answer_scores(bench.model, texts)
        return {
            "greedy": [float(one.greedy) for one in found],
            "logprob": [one.logprob for one in found],
        }

    return bench.piece({"told": prompts_digest(facts), "without": pairs_digest(without)}, make)
