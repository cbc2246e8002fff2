"""Sections 3.1 and 3.2 and Figure 2 of CNL: pure parts, verdicts, and runs on the random model."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from brodmann.data import Fact
from brodmann.errors import DataError, InputError
from brodmann.evaluate import random_sets
from brodmann.evaluate.editing import answer_scores
from brodmann.experiments.catalogue import find_experiment
from brodmann.experiments.cells import find, only
from brodmann.experiments.cnl import edit_cells, fact_sample, figure_2, section_3_1, section_3_2
from brodmann.experiments.cnl.alike import Universe, alike
from brodmann.experiments.cnl.edit_cells import rank_agreements, traced_and_others
from brodmann.experiments.cnl.fact_effects import effect_rows, sibling_of
from brodmann.experiments.cnl.fact_pairs import (
    ANSWER,
    FACT,
    OTHER,
    RELATION,
    WORDING,
    Asked,
    dealt,
    pair_cells,
)
from brodmann.experiments.cnl.fact_recall import random_circuit
from brodmann.experiments.cnl.fact_sample import chosen_facts, in_twos
from brodmann.experiments.cnl.fact_sets import by_fact, kn_sets, refined, strongest
from brodmann.experiments.cnl.fact_targets import editable
from brodmann.experiments.cnl.own_sets import numbers_of, set_of
from brodmann.experiments.reproduce import config_of
from brodmann.experiments.workbench import Workbench
from brodmann.interventions import erased, reference_activations, scaled
from brodmann.localize import knowledge_neurons
from brodmann.localize.circuits import Circuit
from brodmann.models.component_graph import ComponentGraph
from brodmann.storage import plain
from tests.experiments.cnl_bench import written

CONFIGS = {
    name: find_experiment(name).presets["smoke"]
    for name in ("cnl-section-3.1", "cnl-section-3.2", "cnl-figure-2")
}
PAPERS = {
    "cnl-section-3.1": [("Section 3.1", row, "overlap") for row in ("KN", "ROME", "KC")],
    "cnl-section-3.2": [
        *((f"KN {how}", row, column) for how in ("doubled", "zeroed")
          for row in ("Located", "Random") for column in ("rises", "falls")),
        ("KC recall", "Located", "rank 1"),
        ("KC recall", "Located", "parameters"),
    ],
    "cnl-figure-2": [("Success", "efficacy", layer) for layer in ("0", "2")],
}  # fmt: skip


def fact(name, relation, answer, prompts=("{} is in", "You find {} in")):
    first, *others = (prompt.format(name) for prompt in prompts)
    return Fact(id=name, subject=name, relation=relation, prompt=first, answer=answer,
                paraphrases=tuple(others))  # fmt: skip


FACTS = (fact("Lima", "at", "Peru"), fact("Oslo", "at", "Norway"), fact("Cusco", "at", "Peru"),
         fact("Ann", "job", "baker", ("{} is a", "The work of {} is that of a")))  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Workbench("tiny-random", tmp_path_factory.mktemp("cache"))


def test_pairs_of_prompts_are_of_the_kinds_that_they_say():
    kinds = Asked(FACTS).kinds  # prompts 0 and 1 are Lima's, 2 and 3 Oslo's, and so on
    pairs = {name: {(a, b) for a, b in combinations(range(8), 2) if which[a, b]}
             for name, which in kinds.items()}  # fmt: skip
    assert pairs[FACT] == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert pairs[WORDING] == {(0, 2), (1, 3), (2, 4), (3, 5)}
    assert pairs[RELATION] == {(0, 3), (1, 2), (2, 5), (3, 4)}
    assert pairs[ANSWER] == {(0, 5), (1, 4)}
    assert pairs[OTHER] == {(a, b) for a in range(6) for b in (6, 7)}


def test_pairs_of_answered_prompts_leave_the_others_out():
    answered = (True, True, True, False, True, True, True, True)
    asked = Asked(FACTS, answered)
    for kind, which in asked.answered_kinds.items():
        assert not which[3].any() and not which[:, 3].any()
        assert which.sum() <= asked.kinds[kind].sum()
    assert np.argwhere(np.triu(asked.answered_kinds[FACT])).tolist() == [[0, 1], [4, 5], [6, 7]]
    sets = [frozenset([place]) for place in range(8)]
    cells = pair_cells("b", "KN", asked, sets, Universe(8, (8,)), permutations=0, seed=0)
    told = only(cells, block="KN: pairs of answered prompts", row=FACT, column="overlap")
    assert (told["value"], told["pairs"]) == (0.0, 3)
    assert only(cells, block="KN: pairs of prompts", row=FACT, column="overlap")["pairs"] == 4


def test_intervals_are_over_relations():
    assert Asked(FACTS).relations == [
        number for number, one in enumerate(dict.fromkeys(f.relation for f in FACTS))
        for fact in FACTS if fact.relation == one for _ in fact.prompts
    ]  # fmt: skip


def test_a_fact_that_is_there_is_told_from_its_relation():
    sets = [frozenset([unit, unit + 10, 20 + place]) for place, unit in enumerate([0, 0, 1, 1])]
    likeness = alike(sets, Universe(50, (50,)), [0, 0, 1, 1])
    draws = dealt(likeness, Asked(FACTS[:2]), 50, 0)
    # Dealt anew, the prompts are either all in place or none of them.
    assert set(np.round(draws, 6)) == {0, round(2 / 3, 6)}


def test_facts_are_taken_in_twos_and_fewer_are_the_first_of_more():
    names = [fact(f"{relation}{n}", relation, "x") for n in range(5) for relation in "abc"]
    taken = in_twos([*names, fact("z", "z", "x")], 8)
    assert [one.id for one in taken] == ["a0", "a1", "b0", "b1", "c0", "c1", "a2", "a3"]
    assert in_twos(names, 4) == taken[:4]
    found = [sibling_of(fact, FACTS) for fact in FACTS]
    assert [None if one is None else one.id for one in found] == [
        "Oslo", "Cusco", "Oslo", None,
    ]  # fmt: skip


def test_facts_that_the_model_does_not_know_are_left_out(bench):
    known = replace(CONFIGS["cnl-section-3.1"], known=True)
    with pytest.raises(DataError, match="of 10 it knows 0"):
        chosen_facts(known, bench)
    with pytest.raises(DataError, match="of 10 it knows 0, and 0 of these at 2 prompts"):
        chosen_facts(known, bench, 2)
    with pytest.raises(InputError, match="every of 1 layer or more; got 0"):
        replace(CONFIGS["cnl-figure-2"], every=0)
    with pytest.raises(DataError, match="9 prompts"):
        chosen_facts(replace(known, prompts=9), bench)


def test_facts_have_to_be_answered_often_enough_and_answered_wordings_come_first(
    bench, monkeypatch
):
    right = {("Lima", "b"), ("Lima", "c"), ("Oslo", "c"), ("Oslo", "a"), ("Rome", "a"),
             ("Cairo", "c"), ("Cairo", "b")}  # fmt: skip
    facts = [fact(name, "at", f"in{name}", ("{} a", "{} b", "{} c", "{} d"))
             for name in ("Lima", "Oslo", "Rome", "Cairo")]  # fmt: skip
    monkeypatch.setattr(bench, "facts", lambda name: facts)
    monkeypatch.setattr(
        fact_sample, "_knows", lambda each, _: [tuple(one.prompt.split()) in right for one in each]
    )
    config = replace(CONFIGS["cnl-section-3.1"], n_facts=9, answered=2)
    sample = chosen_facts(config, bench, config.answered)
    assert {one.subject for one in sample.facts} == {"Lima", "Oslo", "Cairo"}
    assert sample.seldom == 1
    for one in sample.facts:  # c is answered by all three, b by two, a by one, d is cut off
        assert [prompt.split()[1] for prompt in one.prompts] == ["c", "b", "a"]
    assert sum(sample.answered) == 6
    told = only(sample.cells, row="answered too seldom, left out")
    assert told is not None and told["value"] == 1
    with pytest.raises(DataError, match="0 of these at 3 prompts"):
        chosen_facts(replace(config, known=True), bench, 3)
    with pytest.raises(InputError, match="answered from 1 to 3 prompts; got 4"):
        replace(config, answered=4)


def test_refining_is_kn_s_own(bench):
    config = CONFIGS["cnl-section-3.2"]
    facts = chosen_facts(config, bench).facts
    sets = by_fact(facts, kn_sets(bench, facts, steps=2, t=0.2))
    examples = {one.id: one.examples() for one in facts}
    for p in (0.5, 0.7):
        found = knowledge_neurons(bench.model, examples, steps=2, p=p, progress=False)
        for one, own in zip(facts, sets, strict=True):
            assert refined(own, p) == numbers_of(found[one.id].neurons)
    neurons = set_of(bench, refined(sets[0], 0.5))
    assert numbers_of(neurons) == refined(sets[0], 0.5) != frozenset()


def test_effects_are_changes_of_the_answers_log_probability(bench):
    facts = chosen_facts(CONFIGS["cnl-section-3.2"], bench).facts[:2]
    neurons = [set_of(bench, frozenset({3, 20, 150})), set_of(bench, frozenset())]
    rows = effect_rows(bench, facts, neurons, draws=2, norm_draws=2, seed=1)
    assert {row["fact"] for row in rows} == {facts[0].id} and len(rows) == 4

    asked = [example for one in facts for example in one.examples()]
    norms = reference_activations(bench.model, asked).magnitude
    by_norm = random_sets(neurons[0], 2, "activation", seed=1, norms=norms)

    def logprob(one):
        return answer_scores(bench.model, [(one.prompt, one.delimiter, one.answer)])[0].logprob

    for row in rows:
        one = facts[0] if row["whose"] == "own" else sibling_of(facts[0], facts)
        before, after = logprob(one), []
        for chosen in [neurons[0], *random_sets(neurons[0], 2, seed=1), *by_norm]:
            doubled = row["intervention"] == "doubled"
            change = scaled(bench.model, chosen, 2.0) if doubled else erased(bench.model, chosen)
            with change:
                after.append(logprob(one) - before)
        assert [row["located"], *row["random"], *row["by_norm"]] == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("name", ["cnl-section-3.1", "cnl-section-3.2", "cnl-table-4"])
def test_a_number_of_edges_is_refused_before_anything_is_run(name):
    for edges in ("5000", "0"):
        with pytest.raises(InputError, match=f"as a share.*got {edges}. Write edges="):
            config_of(find_experiment(name), "smoke", [f"edges={edges}"])


def test_random_circuits_have_as_many_edges_into_each_receiver():
    graph = ComponentGraph(heads=(2, 2), key_heads=(1, 1), parallel=(False, False))
    generator = torch.Generator().manual_seed(0)
    edges = graph.exists & (torch.rand(graph.exists.shape, generator=generator) < 0.4)
    circuit = Circuit(graph, edges)
    drawn = [random_circuit(circuit, generator) for _ in range(8)]
    for one in drawn:
        assert torch.equal(one.edges.sum(0), edges.sum(0))
        assert not bool((one.edges & ~graph.exists).any())
    assert len({tuple(one.edges.flatten().tolist()) for one in drawn}) > 4


def test_facts_without_a_new_answer_take_one_of_their_relation():
    lima, oslo, cusco = editable(FACTS, FACTS)  # Ann is alone in her relation
    assert (lima.target_new, oslo.target_new, cusco.target_new) == ("Norway", "Peru", "Norway")
    assert lima.neighbours == (("Cusco is in", "Peru"),) and oslo.neighbours == ()
    named = replace(FACTS[3], target_new="smith", neighbours=(("Bob is a", "tailor"),))
    assert editable([named], [named]) == [named]
    (alone,) = editable(FACTS[:1], FACTS)  # what is not edited may still lend an answer
    assert alone == lima


def test_layers_are_compared_within_a_fact():
    rows = [
        {"fact": name, "layer": layer, "traced": layer == traced, "effect": effect, "m": score}
        for name, traced, effects, scores in (
            ("a", 1, (0.1, 0.9, 0.5), (1.0, 4.0, 2.0)),
            ("b", 0, (0.9, 0.5, 0.1), (1.0, 2.0, 6.0)),
            ("c", 0, (0.9, 0.5, 0.1), (None, None, None)),
        )
        for layer, (effect, score) in enumerate(zip(effects, scores, strict=True))
    ]
    assert traced_and_others(rows, "m") == {"a": (4.0, 1.5), "b": (1.0, 4.0)}
    assert rank_agreements(rows, "m") == pytest.approx({"a": 1, "b": -1})
    assert strongest([0.1, 0.9, 0.5], 2) == (1, 2)


def test_intervals_of_edits_are_over_relations():
    keys = [f"{kind}{end}" for kind in edit_cells.KINDS for end in ("", "_margin")]
    rows = [
        {"fact": f"{relation}{number}", "relation": relation, "layer": layer, "effect": 0.1 * layer,
         "traced": layer == 1, **dict.fromkeys(keys, value * (1 + layer))}
        for relation, value in (("a", 0.0), ("b", 1.0)) for number in range(3) for layer in (0, 1)
    ]  # fmt: skip
    cells = edit_cells.edit_cells(rows, [0, 1])
    found = only(cells, block=edit_cells.SUCCESS, row="efficacy", column="1")
    assert (found["value"], found["n"], found["facts"]) == (1.0, 2, 6)
    assert (found["low"], found["high"]) == (0.0, 2.0)  # two relations, not six facts
    found = only(
        cells, block=edit_cells.TRACED, row=edit_cells.DIFFERENCE, column="paraphrase margin"
    )
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize("name", CONFIGS)
def test_smoke(name, bench):
    experiment, config = find_experiment(name), CONFIGS[name]
    tables = experiment.run(config, bench)
    for block, row, column in PAPERS[name]:
        found = only(tables["cells"], block=block, row=row, column=column)
        assert found is not None and not found.get("extra"), (block, row, column)
        assert math.isfinite(found["value"])
    judged = experiment.judge(tables, config)
    assert [claim for claim, _, _ in judged] == list(experiment.claims)
    assert plain(tables["cells"]) == tables["cells"]
    assert only(tables["cells"], row="not known, left out")["value"] == 10
    assert len(find(tables["facts"])) == config.n_facts
    assert all(one.spec.startswith(("own", "gsm8k")) for one in bench.used)


ENDS = {
    "supported": ((0.1, 0.3), (-0.3, -0.1)),
    "not supported": ((-0.3, -0.1), (0.1, 0.3)),
    "undecided at this size": ((-0.1, 0.1), (-0.1, 0.1)),
}


@pytest.mark.parametrize("verdict", ENDS)
def test_judges_go_by_intervals(verdict):
    over, under = ENDS[verdict]

    def at(block, row, column, ends, level=0.0):
        low, high = (end + level for end in ends)
        return written(row, column, level + sum(ends) / 2, low, high, block)

    cells = []
    for name in section_3_1.METHODS.values():
        cells.append(at("Section 3.1", name, "overlap", under, 0.5))
        for row in ("fact - relation", "fact - wording", "fact - answer"):
            cells.append(at(f"{name}: contrasts", row, "overlap", over))
        answered = f"{name}: pairs of answered prompts"
        cells.append(at(answered, "same fact, other wording", "overlap", under, 0.5))
        for row in ("fact - relation", "fact - wording"):
            cells.append(at(f"{name}: contrasts of answered prompts", row, "overlap", over))
    _check(section_3_1, cells, CONFIGS["cnl-section-3.1"], verdict)
    cells = [
        at("KN doubled", "Located - Random", "log P", over),
        at("KN zeroed", "Located - Random", "log P", under),
        at("KN zeroed", section_3_2.SPECIFIC, "log P", under),
    ]
    for block in section_3_2.RECALLS:
        cells += [
            at(block, "Located", "rank 1", under, 0.5),
            at(block, "Located", section_3_2.RANK_10, (0.3, 0.5)),
            at(block, "Located - Random", section_3_2.RANK_10, over),
        ]
    _check(section_3_2, cells, CONFIGS["cnl-section-3.2"], verdict)
    cells = [
        at(edit_cells.TRACED, edit_cells.DIFFERENCE, "efficacy", under, 0.1),
        at(edit_cells.TRACED, edit_cells.DIFFERENCE, "paraphrase margin", over),
        at(edit_cells.TRACED, edit_cells.RANKS, "paraphrase margin", over),
    ]
    _check(figure_2, cells, CONFIGS["cnl-figure-2"], verdict)


@pytest.mark.parametrize("block", section_3_2.RECALLS)
def test_what_recalls_nothing_decides_nothing(block):
    cells = [
        written(row, section_3_2.RANK_10, 0.0, 0.0, 0.0, block)
        for row in ("Located", "Random", "Located - Random")
    ]
    judged = section_3_2.judge({"cells": cells}, CONFIGS["cnl-section-3.2"])
    told = {name: verdict for name, verdict, _ in judged if name.endswith("random")}
    assert told == dict.fromkeys(("recall-random", "recall-mean-random"), "undecided at this size")


def _check(module, cells, config, verdict):
    judged = module.judge({"cells": cells}, config)
    assert [(name, found) for name, found, _ in judged] == [
        (name, verdict) for name in module.CLAIMS
    ]
