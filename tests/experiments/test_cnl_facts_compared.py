"""cnl-table-4 and cnl-figure-8: six methods on the same facts."""

import math
from dataclasses import replace

import pytest

from brodmann.data import Fact
from brodmann.evaluate import random_sets
from brodmann.evaluate.editing import answer_scores
from brodmann.experiments.catalogue import find_experiment
from brodmann.experiments.cells import only
from brodmann.experiments.cnl import figure_8, table_4
from brodmann.experiments.cnl.fact_harm import beyond_worst, more_harm
from brodmann.experiments.cnl.fact_methods import LAYERED, METHODS, as_many_as_kn, locate_all
from brodmann.experiments.cnl.fact_sample import chosen_facts
from brodmann.experiments.cnl.own_sets import numbers_of, set_of
from brodmann.experiments.workbench import Workbench
from brodmann.interventions import erased
from brodmann.localize import dcsn
from brodmann.storage import plain
from tests.experiments.cnl_bench import written

SMOKE = table_4.PRESETS["smoke"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Workbench("tiny-random", tmp_path_factory.mktemp("cache"))


def test_the_effect_is_compared_with_the_most_harmful_draw():
    effects = {
        "located": {"logprob": [3.0, 1.0]},
        "random": [{"logprob": [0.0, 0.5]}, {"logprob": [1.0, 2.0]}, {"logprob": [5.0, -4.0]}],
    }
    facts = [
        Fact(id=name, subject=name, relation="capital", prompt=f"{name} lies in", answer="it")
        for name in ("Rome", "Oslo")
    ]
    assert beyond_worst(effects, "logprob", facts).mean == pytest.approx((2.0 - 1.0) / 2)
    other = {"located": {"logprob": [9.0, 9.0]}, "random": [{"logprob": [0.0, 1.0]}]}
    assert more_harm(other, effects, "logprob", facts).mean == pytest.approx((17.0 - 1.0) / 2)
    assert more_harm(other, effects, "logprob", facts).units == 1  # a relation, not its facts


@pytest.mark.parametrize("name", ["cnl-table-4", "cnl-figure-8"])
def test_smoke(name, bench):
    experiment = find_experiment(name)
    config = experiment.presets["smoke"]
    tables = experiment.run(config, bench)
    cells = tables["cells"]
    blocks = {"cnl-table-4": ("Methods", "Neuron"), "cnl-figure-8": ("Erased: margin", "Emotion")}
    block, column = blocks[name]
    for method in METHODS:
        found = only(cells, block=block, row=method, column=column)
        assert found is not None and (found["value"] is None or math.isfinite(found["value"]))
        assert found["value"] is not None or found["neurons"] == 0
    judged = experiment.judge(tables, config)
    assert [claim for claim, _, _ in judged] == list(experiment.claims)
    assert plain(cells) == cells
    if name == "cnl-table-4":
        printed = {(one["row"], one["column"]) for one in cells if not one.get("extra")}
        assert printed == {(row, column) for row in ("KN", "ROME", "KC", "CNL")
                           for column in ("Overlap", "Neuron", "IPP")}  # fmt: skip


def test_sets_and_effects_are_what_the_library_measures(bench):
    facts = chosen_facts(SMOKE, bench).facts
    located = locate_all(SMOKE, bench, facts)
    assert tuple(located) == METHODS
    for name, half in zip("01", (facts[::2], facts[1::2]), strict=True):
        examples = [one for fact in half for one in fact.examples()]
        scores = dcsn(bench.model, {name: examples}, progress=False)[name]
        assert located["DCSN"].halves[int(name)] == scores.select(SMOKE.sigma)
    for name in LAYERED:
        counts, real = located[name].whole.counts, located[name].whole.real.sum(1)
        assert ((counts == 0) | (counts == real)).all()  # layers, whole
    assert int((located["ROME"].whole.counts > 0).sum()) == SMOKE.top
    cell = only(table_4.run(SMOKE, bench)["cells"], row="DCSN", column="IPP, log P")
    texts = [(fact.prompt, fact.delimiter, fact.answer) for fact in facts]

    def total():
        return sum(one.logprob for one in answer_scores(bench.model, texts))

    before, after = total(), []
    neurons = located["DCSN"].whole
    for one in [neurons, *random_sets(neurons, SMOKE.erasures, seed=SMOKE.seed)]:
        with erased(bench.model, one):
            after.append(before - total())
    expected = (after[0] - max(after[1:])) / len(facts)
    assert cell["value"] == pytest.approx(expected, abs=1e-5)


def test_sets_of_one_size_hold_the_strongest(bench):
    facts = chosen_facts(SMOKE, bench).facts
    located = locate_all(SMOKE, bench, facts)
    two = frozenset(list(numbers_of(located["ROME"].whole))[:2])
    few = located | {"KN": replace(located["KN"], whole=set_of(bench, two))}
    cut = as_many_as_kn(bench, few)
    assert set(cut) == {"KN", "NeFT", "DCSN", "CNL"}
    examples = [[one for fact in half for one in fact.examples()] for half in
                (facts[::2], facts[1::2])]  # fmt: skip
    first, second = (dcsn(bench.model, {"a": some}, progress=False)["a"] for some in examples)
    values = (first.values + second.values) / 2  # halves of one size
    assert len(examples[0]) == len(examples[1])
    strongest = values.abs().flatten().topk(2).indices.tolist()
    assert numbers_of(cut["DCSN"].whole) == frozenset(strongest)
    nothing = located | {"KN": replace(located["KN"], whole=set_of(bench, frozenset()))}
    assert as_many_as_kn(bench, nothing) == {}


ENDS = {
    "supported": (0.1, 0.3),
    "not supported": (-0.3, -0.1),
    "undecided at this size": (-0.1, 0.1),
}


@pytest.mark.parametrize("verdict", ENDS)
def test_judges_go_by_intervals(verdict):
    low, high = ENDS[verdict]
    places = [
        (table_4.CONTRASTS, "difference", "overlap of paraphrases"),
        (table_4.BLOCK, "CNL", "IPP, log P"),
        (table_4.CONTRASTS, "difference", "IPP, log P"),
        (table_4.CONTRASTS, "difference", "IPP, log P, as many as KN"),
    ]
    cells = [
        written(row, column, (low + high) / 2, low, high, block) for block, row, column in places
    ]
    judged = table_4.judge({"cells": cells}, SMOKE)
    assert [one[:2] for one in judged] == [(name, verdict) for name in table_4.CLAIMS]
    cells = [
        written(name, data, 0.0, *ends, figure_8.BEYOND)
        for name in ("CNL", "KN")
        for data, ends in (("a", (-high, -low)), ("b", (-0.9, -0.8)))
    ]
    judged = figure_8.judge({"cells": cells}, figure_8.PRESETS["smoke"])
    assert [one[:2] for one in judged] == [(name, verdict) for name in figure_8.CLAIMS]
