"""cnl-table-1: what is particular to the data agrees within, what is common agrees across."""

import pytest

from brodmann.data import load_examples
from brodmann.errors import InputError
from brodmann.experiments.cells import find, only
from brodmann.experiments.claims import verdict_rows
from brodmann.experiments.cnl import table_1
from brodmann.experiments.cnl.halves import half_sample, locate_halves, resampled
from brodmann.experiments.cnl.table_1 import ACROSS, BLOCK, DIFFERENCE, Table1, judge, run
from brodmann.localize import locate
from brodmann.neurons import overlap
from tests.experiments.cnl_bench import (
    COMMON,
    LOCATING,
    OTHER,
    OWN,
    planted_bench,
    planted_data,
    written,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cnl")


@pytest.fixture(scope="module")
def config(folder):
    return Table1(data=planted_data(folder), **LOCATING)


@pytest.fixture(scope="module")
def bench(folder):
    return planted_bench(folder)


@pytest.fixture(scope="module")
def tables(config, bench):
    return run(config, bench)


def test_planted_neurons_are_found_in_both_halves_and_not_across(config, bench, tables):
    located = locate_halves(config, bench)
    for name, pairs in (("sevens", OWN), ("letters", OTHER)):
        assert all(set(half) == set(pairs) for half in located[name].halves)
        assert only(tables["cells"], block=BLOCK, row="overlap", column=name)["value"] == 1
        assert only(tables["cells"], block=BLOCK, row="IoU", column=name)["value"] == 1
        share = only(tables["cells"], block=BLOCK, row="neuron", column=name)
        assert share["value"] == pytest.approx(3 / 1200)
        assert only(tables["cells"], block=ACROSS, row=name, column=name)["value"] == 1
    assert only(tables["cells"], block=ACROSS, row="sevens", column="letters")["value"] == 0
    assert [row[1] for row in judge(tables, config)] == ["supported", "supported"]


def test_common_neurons_agree_across_data_sets(config, tmp_path):
    config = Table1(data=config.data, **(LOCATING | {"sigma": 1}))
    tables = run(config, planted_bench(tmp_path, COMMON))
    across = only(tables["cells"], block=BLOCK, row="across", column="sevens")
    assert across["value"] == pytest.approx(2 / 5)
    assert only(tables["cells"], row=DIFFERENCE, column="Avg.")["value"] == pytest.approx(3 / 5)


def test_a_cell_is_what_the_library_says_of_the_halves(config, bench, tables):
    parts = []
    for which in (1, 2):
        spec = f"{config.data['sevens']}:part={which}/2"
        examples = load_examples(spec, "train", 8, 0)
        found = locate(bench.model, examples, "cnl", steps=4, refine=False)
        parts.append(found.select(3))
    assert not {e.prompt for e in bench.examples(half_sample(config, "sevens", 0))} & {
        e.prompt for e in bench.examples(half_sample(config, "sevens", 1))
    }
    cell = only(tables["cells"], block=BLOCK, row="overlap", column="sevens")
    assert cell["value"] == overlap(*parts)
    assert cell["neurons"] == [len(part) for part in parts]
    assert cell["chance"] == pytest.approx(3 / 1200)
    own = 3 * bench.model.hf.config.hidden_size  # a row of gate, of up, a column of down
    expected = 3 * own / bench.model.hf.num_parameters()
    share = only(tables["cells"], row="neuron (of all parameters)", column="sevens")
    assert share["value"] == pytest.approx(expected)


def test_resampled_sets_are_what_the_rule_selects(config, bench):
    scores = locate_halves(config, bench)["sevens"].scores
    for draw in resampled(scores, config, 0):
        assert draw == {layer * 400 + neuron for layer, neuron in OWN}
    one = scores.half(0).reweighted((scores.half(0).block_counts > 0).long())
    whole = frozenset((one.select(3).mask.flatten().nonzero()[:, 0]).tolist())
    assert whole in resampled(one, config, 1)


def test_dcsn_finds_them_as_well(config, bench):
    other = Table1(data=config.data, **LOCATING, method="dcsn")
    cells = run(other, bench)["cells"]
    assert only(cells, block=BLOCK, row="overlap", column="sevens")["value"] == 1


def test_empty_sets_are_told_and_decide_nothing(config, bench):
    empty = Table1(data=config.data, **(LOCATING | {"sigma": 1000}))
    with pytest.warns(UserWarning, match="sigma"):
        tables = run(empty, bench)
    cell = only(tables["cells"], block=BLOCK, row="overlap", column="sevens")
    assert cell["value"] is None and cell["neurons"] == [0, 0]
    assert {row[1] for row in judge(tables, empty)} == {"undecided at this size"}


@pytest.mark.parametrize(
    ("overlaps", "differences", "expected"),
    [
        ([(0.92, 0.97), (0.95, 1)], [(0.2, 0.4), (0.1, 0.2)], ["supported", "supported"]),
        ([(0.7, 0.85), (0.95, 1)], [(0.2, 0.4), (-0.2, -0.1)], ["not supported"] * 2),
        ([(0.85, 0.95), (0.95, 1)], [(-0.1, 0.4), (0.1, 0.2)], ["undecided at this size"] * 2),
    ],
)
def test_judge_compares_intervals_with_levels(overlaps, differences, expected, config):
    cells = [
        written("overlap", name, sum(ends) / 2, *ends)
        for name, ends in zip("ab", overlaps, strict=True)
    ]
    cells += [
        written(DIFFERENCE, name, sum(ends) / 2, *ends, extra=True)
        for name, ends in zip("ab", differences, strict=True)
    ]
    judged = judge({"cells": cells}, config)
    assert [verdict for _, verdict, _ in judged] == expected
    rows = verdict_rows(judged, table_1.CLAIMS)
    assert "0.9" in rows[0]["because"] and "a 0." in rows[0]["because"]


def test_too_few_examples_are_refused(config):
    with pytest.raises(InputError, match="4 or more examples of sevens"):
        Table1(data=config.data, examples={"sevens": 2, "letters": 16})


def test_the_papers_cells_are_there_and_ours_are_marked(tables):
    printed = [one for one in tables["cells"] if not one.get("extra")]
    assert {one["row"] for one in printed} == {"overlap", "IoU", "neuron"}
    assert {one["column"] for one in printed} == {"sevens", "letters"}
    assert all(0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in printed)
    assert len(find(tables["cells"], block=ACROSS)) == 4
