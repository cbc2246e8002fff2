"""`brodmann` started twice by a launcher: written once, printed once, failed with one line."""

import pytest

from brodmann.cli.failures import failure_of
from brodmann.cli.processes import join
from brodmann.errors import InputError
from tests.launched import TORCHRUN, launched

# On one worker: each launch is two processes already.
pytestmark = pytest.mark.xdist_group("launches")


def own_lines(result):
    """What is ours on stderr, between the launcher's lines."""
    return [line for line in result.stderr.splitlines() if line.startswith("error:")]


def test_a_mistake_is_told_once_although_all_processes_make_it(place, tmp_path):
    words = ("--model", place / "model", "--data", "nothing/here", "--out", tmp_path / "out")
    result = launched(TORCHRUN, "-m", "brodmann", "locate", *words)
    assert result.returncode != 0
    assert result.stdout == ""
    (line,) = own_lines(result)
    assert "got 'nothing'" in line


def test_a_process_that_vanished_is_told_from_a_mistake(two_processes):
    lost = RuntimeError("[/x/gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer")
    assert "another process ended" in failure_of(lost).message
    assert "another process" not in failure_of(RuntimeError("Connection reset by peer")).message


@pytest.fixture
def two_processes(monkeypatch):
    """What a launcher tells the second of two processes."""
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))


def test_a_verb_that_cannot_share_its_work_is_refused(brodmann, place, tmp_path, two_processes):
    result = brodmann("map", place / "model", "--out", tmp_path / "out")
    assert result.returncode == 2
    assert (
        "error: Expected one process for 'brodmann map'; the launcher started 2." in result.stderr
    )


@pytest.mark.parametrize("device", ["auto", "cuda:1"])
def test_a_device_that_processes_cannot_share_is_refused(two_processes, device):
    with pytest.raises(InputError, match=f"each of the 2 processes.*got '{device}'"):
        join(device)


def test_one_process_is_the_first_and_joins_nothing():
    assert join("auto")
