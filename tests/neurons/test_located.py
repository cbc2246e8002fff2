"""What a folder tells of a set, whoever made the folder."""

import pytest

from brodmann.errors import InputError
from brodmann.neurons.located import Located
from brodmann.storage import write_json
from tests.neurons.build import random_scores


@pytest.fixture
def folder(tmp_path):
    """A set of four neurons, with its scores."""
    scores = random_scores(0, (40, 3, 50))
    scores.top(4).save(tmp_path / "set")
    scores.write_into(tmp_path / "set")
    return tmp_path / "set"


def test_a_located_folder_tells_everything(folder):
    write_json(folder / "run.json", {"command": "locate", "wall_seconds": 12.5, "samples": 40})
    found = Located.load(folder)
    assert found.row() == {
        "set": str(folder), "method": "dcsn", "neurons": 4, "samples": 40, "seconds": 12.5
    }  # fmt: skip
    assert found.scores is not None and found.neurons == found.scores.top(4)


def test_the_time_of_locating_alone_goes_before_that_of_the_run(folder):
    write_json(folder / "run.json", {"command": "locate", "wall_seconds": 12.5, "seconds": 3})
    assert Located.load(folder).seconds == 3


def test_a_set_alone_tells_what_it_knows(folder):
    (folder / "scores.safetensors").unlink()
    found = Located.load(folder)
    assert (found.scores, found.samples, found.seconds) == (None, None, None)
    assert (found.method, len(found.neurons)) == ("dcsn", 4)


def test_the_record_of_another_verb_tells_no_time(folder):
    write_json(folder / "run.json", {"command": "erase", "wall_seconds": 12.5})
    assert Located.load(folder).seconds is None


def test_sets_made_of_sets_have_no_method(folder, tmp_path):
    neurons = Located.load(folder).neurons
    (neurons | neurons).save(tmp_path / "union")
    assert Located.load(tmp_path / "union").method is None


def test_a_broken_record_is_one_line(folder):
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json is corrupt"):
        Located.load(folder)
