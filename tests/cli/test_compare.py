"""`brodmann compare` as the real command: sets, pairs, and what erasing as many of each does."""

import json

import pytest
import torch

from brodmann.neurons import NeuronScores, NeuronSet
from tests.cli.conftest import ROWS


@pytest.fixture(scope="module")
def other(place, located, tmp_path_factory):
    """A folder with another three neurons of the same model, without scores."""
    folder = tmp_path_factory.mktemp("compare") / "other"
    scores = NeuronScores.load(located)
    (scores.top(8) - scores.top(5)).save(folder)
    return folder


@pytest.fixture
def asked(place):
    """The words that name a model and data to ask it."""
    return ("--model", place / "model", "--data", place / "rows.jsonl", "--split", "all")


def read(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def refused(result):
    """The one line of a refusal."""
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_every_folder_has_a_row_with_method_samples_and_time(brodmann, located, other):
    found = read(brodmann("compare", located, other, "--json"))
    assert set(found) == {"sets", "pairs"}
    first, second = found["sets"]
    record = json.loads((located / "run.json").read_text())
    assert first["set"] == str(located) and first["method"] == "dcsn"
    assert (first["neurons"], first["samples"]) == (5, len(ROWS))
    assert first["seconds"] == record.get("seconds", record["wall_seconds"]) > 0
    assert (second["neurons"], second["samples"], second["seconds"]) == (3, None, None)
    assert found["pairs"][0]["common"] == 0


def test_erasure_at_equal_size_equals_evaluate_with_that_set(
    brodmann, place, located, other, asked, tmp_path
):
    asked = (*asked, "--limit", 6)
    found = read(brodmann("compare", located, other, *asked, "--draws", 2, "--json"))
    strongest = tmp_path / "strongest"
    scores, whole = NeuronScores.load(located), NeuronSet.load(located)
    whole.strongest(scores, 3 / 5).save(strongest)
    plain = read(brodmann("evaluate", *asked, "--json"))
    for row, folder in zip(found["sets"], (strongest, other), strict=True):
        erased = read(brodmann("evaluate", *asked, "--erase", folder, "--json"))
        assert row["erased"] == erased["erased_neurons"] == 3
        assert row["accuracy"] == erased["accuracy"]
        assert row["margin"] == pytest.approx(erased["margin"])
        assert row["d_margin"] == pytest.approx(erased["margin"] - plain["margin"])
        assert row["d_margin_low"] <= row["d_margin"] <= row["d_margin_high"]
        assert 1 <= row["random_d_margin_rank"] <= 3 and row["random_d_margin_p"] is None
    assert found["unedited"]["margin"] == plain["margin"]
    assert found["sets"][0]["method"] == "dcsn"


def test_people_see_three_tables(brodmann, located, other, asked):
    result = brodmann("compare", located, other, *asked, "--limit", 4, "--draws", 1)
    assert result.returncode == 0, result.stderr
    positions = [
        result.stdout.index(title)
        for title in ("Sets", "The 3 strongest neurons of each set erased: 4 examples", "Pairs")
    ]
    assert positions == sorted(positions)
    assert "of 2" in result.stdout and "margin, nats" in result.stdout


def test_rank_correlation_is_shown_though_the_first_pair_has_none(brodmann, located, other):
    result = brodmann("compare", other, located, located)
    assert result.returncode == 0, result.stderr
    assert " rank " in result.stdout.partition("Pairs")[2]


@pytest.mark.parametrize(("kept", "missing"), [(slice(0, 2), "--data"), (slice(2, 4), "--model")])
def test_a_model_without_data_or_data_without_a_model(
    brodmann, located, other, asked, kept, missing
):
    line = refused(brodmann("compare", located, other, *asked[kept]))
    assert "--model and --data together" in line and f"Write {missing} too" in line


def test_an_empty_set_cannot_be_erased_but_compared(brodmann, located, asked, tmp_path):
    empty = tmp_path / "empty"
    whole = NeuronSet.load(located)
    (whole - whole).save(empty)
    assert f"{empty} is empty" in refused(brodmann("compare", located, empty, *asked))
    assert read(brodmann("compare", located, empty, "--json"))["pairs"][0]["overlap"] == 0


def test_a_larger_set_without_scores(brodmann, located, other, asked, tmp_path):
    small = tmp_path / "small"
    NeuronScores.load(located).top(2).save(small)
    line = refused(brodmann("compare", small, other, *asked))
    assert f"scores beside {other}" in line and "--top 2" in line


def test_sets_of_another_model(brodmann, place, located, other, asked):
    words = ("--model", place / "other", *asked[2:])
    assert "got neurons of" in refused(brodmann("compare", located, other, *words))


def test_no_draws_are_refused(brodmann, located, other, asked):
    assert "--draws" in refused(brodmann("compare", located, other, *asked, "--draws", 0))


def test_a_hand_made_set_of_another_shape(brodmann, located, asked, tmp_path):
    folder = tmp_path / "hand"
    NeuronSet.from_mask(torch.eye(4, 48, dtype=torch.bool)).save(folder)
    assert "over the same neurons" in refused(brodmann("compare", located, folder, *asked))
