"""cnl-figure-4 and cnl-figure-6: where the neurons are, and how soon they settle."""

import pytest
import torch

from brodmann.experiments.cells import find, only
from brodmann.experiments.cnl import figure_4, figure_6
from brodmann.experiments.cnl.figure_4 import Figure4, neuron_rows
from brodmann.experiments.cnl.figure_6 import COHESION, KEPT, Figure6
from brodmann.experiments.cnl.halves import Located, locate_halves
from brodmann.neurons import NeuronScores, layer_matched_chance, overlap
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
def data(tmp_path_factory):
    return planted_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return planted_bench(tmp_path_factory.mktemp("common"), COMMON)


def noisy(n, seed, width=300):
    """Scores of n samples in which ten neurons stand out a little, in blocks as locating makes."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(n, 2, width, generator=generator, dtype=torch.float64)
    samples[:, 0, :10] += 3
    sums, counts = torch.zeros(32, 2, width, dtype=torch.float64), torch.zeros(32).long()
    for index, sample in enumerate(samples):
        sums[index % 32] += sample
        counts[index % 32] += 1
    real = torch.ones(2, width, dtype=torch.bool)
    real[1, 250:] = False
    return NeuronScores.from_sums(
        sums, counts, (samples**2).sum(0), real, dtype=torch.float64,
        provenance={"model": "m", "fingerprint": "f"},
    )  # fmt: skip


def test_shared_neurons_are_beyond_chance(data, bench):
    config = Figure4(data=data, **(LOCATING | {"sigma": 1}))
    tables = figure_4.run(config, bench)
    found = only(tables["cells"], block="Overlap", row="sevens", column="letters")
    assert found["value"] == pytest.approx(2 / 5)
    located = locate_halves(config, bench)
    a, b = located["sevens"].whole, located["letters"].whole
    assert set(a) == {*OWN, *COMMON} and set(b) == {*OTHER, *COMMON}
    level = layer_matched_chance(a, b)
    assert found["chance_layer_matched"] == level.overlap and found["p_holm"] == level.p_value
    beyond = only(tables["cells"], block="Overlap - chance")
    assert beyond["value"] == pytest.approx(2 / 5 - level.overlap)
    assert [row[1] for row in figure_4.judge(tables, config)] == ["supported"]


def test_disjoint_sets_are_not_beyond_chance(data, tmp_path):
    config = Figure4(data=data, **LOCATING)
    tables = figure_4.run(config, planted_bench(tmp_path))
    assert [row[1] for row in figure_4.judge(tables, config)] == ["undecided at this size"]


def test_the_map_shows_the_strongest_of_each_hundred(data):
    scores = noisy(32, 0)
    rows = neuron_rows(Located("noise", scores, Figure4(data=data, **LOCATING), 0), 100)
    assert [(row["layer"], row["neuron"] // 100) for row in rows] == [
        (layer, group) for layer in (0, 1) for group in (0, 1, 2)
    ]
    for row in rows:
        start = row["neuron"] // 100 * 100
        group = scores.values[row["layer"], start : start + 100]
        assert abs(row["value"]) == group.abs().max() and row["value"] in group
    assert rows[0]["located"] and rows[0]["neuron"] < 10
    assert max(row["neuron"] for row in rows if row["layer"] == 1) < 250


def test_the_curve_is_that_of_the_first_examples(data, bench):
    config = Figure6(data=data, **(LOCATING | {"sigma": 3}), blocks=(2, 4, 99))
    one = Located("noise", noisy(64, 1), config, 0)
    rows = figure_6._curve(one, config)
    assert [row["n"] for row in find(rows, row=COHESION)] == [8, 16, 64]
    assert [row["full"] for row in find(rows, row=KEPT)] == [False, False, True]
    times = (torch.arange(32) < 8).long()
    first = one.scores.reweighted(times)
    halves = [first.half(which).select(3) for which in (0, 1)]
    at = only(rows, row=COHESION, column="16")
    assert at["value"] == overlap(*halves) and at["low"] <= at["value"] <= at["high"]
    assert only(rows, row=KEPT, column="16")["value"] == overlap(first.select(3), one.whole)
    assert only(rows, row=KEPT, column="64")["value"] == 1


def test_planted_neurons_are_settled(data, bench):
    config = Figure6(data=data, **LOCATING)
    tables = figure_6.run(config, bench)
    assert {row["block"] for row in tables["cells"]} == {"sevens", "letters"}
    assert [row[1] for row in figure_6.judge(tables, config)] == ["supported"]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.92, 0.98), "supported"),
        ((0.5, 0.8), "not supported"),
        ((0.85, 0.95), "undecided at this size"),
    ],
)
def test_judges(ends, expected, data):
    value = sum(ends) / 2
    cells = [written(COHESION, "16", value, *ends, "GSM8K", full=True)]
    cells.append(written(COHESION, "8", 0.1, 0, 0.2, "GSM8K", full=False))
    config = Figure6(data=data, **LOCATING)
    assert [row[1] for row in figure_6.judge({"cells": cells}, config)] == [expected]
    shifted = [end - 0.9 for end in ends]
    cells = [written("a", "b", value - 0.9, *shifted, "Overlap - chance")]
    config = Figure4(data=data, **LOCATING)
    assert [row[1] for row in figure_4.judge({"cells": cells}, config)] == [expected]
