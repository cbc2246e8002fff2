"""The convergence curve of one set: saved rows, and a picture that an SVG reader can read."""

import warnings
from xml.etree import ElementTree

import pytest
import torch

from brodmann.errors import InputError
from brodmann.neurons import convergence
from brodmann.report.figure_convergence import write_convergence
from brodmann.storage import read_json
from tests.neurons.build import random_scores, scores_of


def noisy():
    """Ten neurons whose scores differ from those of the other 390 by less than the noise."""
    samples = torch.randn(64, 4, 100, generator=torch.Generator().manual_seed(0))
    samples[:, 2, :10] += 0.7
    return scores_of(samples)


def panels_of(folder):
    """How many axes the picture has; it must be well-formed to be counted."""
    root = ElementTree.parse(folder / "convergence.svg").getroot()
    assert root.tag.endswith("svg")
    return sum(part.get("id", "").startswith("axes_") for part in root.iter())


def test_rows_are_those_of_convergence_beside_chance(tmp_path):
    scores = noisy()
    rows = write_convergence(tmp_path, scores, lambda s: s.top(10))
    for row, plain in zip(rows, convergence(scores, lambda s: s.top(10)), strict=True):
        assert row == plain | {"overlap_by_chance": 10 / 400}
    assert read_json(tmp_path / "convergence.json") == rows
    assert {path.name for path in tmp_path.iterdir()} == {"convergence.json", "convergence.svg"}


def test_the_size_is_drawn_where_it_changes(tmp_path):
    write_convergence(tmp_path, noisy(), lambda s: s.top(10))
    assert panels_of(tmp_path) == 1
    rows = write_convergence(tmp_path, noisy(), lambda s: s.select(3))
    assert len({row["neurons"] for row in rows}) > 1
    assert panels_of(tmp_path) == 2
    first, last = rows[0], rows[-1]
    assert first["overlap_by_chance"] == (first["neurons"] + last["neurons"]) / 800


def test_one_block_has_no_halves(tmp_path):
    (row,) = write_convergence(tmp_path, random_scores(0, (1, 2, 30)), lambda s: s.top(5))
    assert (row["overlap_of_halves"], row["overlap_with_final"], row["samples"]) == (None, 1.0, 1)
    assert panels_of(tmp_path) == 1


@pytest.mark.parametrize("n_samples", [1, 20])
def test_empty_sets_have_no_overlap(tmp_path, n_samples):
    scores = random_scores(0, (n_samples, 2, 30))
    rows = write_convergence(tmp_path, scores, lambda s: s.top(0))
    for row in rows:
        assert row["neurons"] == 0
        assert row["overlap_with_final"] is row["overlap_of_halves"] is None
        assert row["overlap_by_chance"] is None
    assert read_json(tmp_path / "convergence.json") == rows
    assert panels_of(tmp_path) == 1


def test_a_rule_that_cannot_fire_does_not_warn_again(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_convergence(tmp_path, random_scores(0, (9, 2, 10)), lambda s: s.select(6))


def test_equal_scores_give_equal_bytes(tmp_path):
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_convergence(tmp_path / name, noisy(), lambda s: s.select(2))
        files.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert files[0] == files[1]


def test_scores_without_blocks_are_refused_and_nothing_is_written(tmp_path):
    contrast = random_scores(0).contrast([random_scores(1, n_blocks=3)])
    with pytest.raises(InputError, match="have none"):
        write_convergence(tmp_path, contrast, lambda s: s.top(5))
    assert not list(tmp_path.iterdir())
