"""`brodmann` started twice by a launcher: written once, printed once, failed with one line."""

import json

import pytest

from brodmann.cli.failures import failure_of
from brodmann.cli.processes import join
from brodmann.errors import InputError
from brodmann.neurons import NeuronScores
from tests.launched import ACCELERATE, TORCHRUN, launched

# On one worker: each launch is two processes already.
pytestmark = pytest.mark.xdist_group("launches")

BROKEN_IN_ONE = """
import sys
from brodmann.cli.main import run
from brodmann.launch import process_number
from brodmann.localize.checkpoint import Checkpoint

def broken(self, *state, **more):
    raise RuntimeError("planted")

if process_number() == 1:
    Checkpoint.save = broken
sys.exit(run(sys.argv[1:]))
"""


def own_lines(result):
    """What is ours on stderr, between the launcher's lines."""
    return [line for line in result.stderr.splitlines() if line.startswith("error:")]


def locate(place, out):
    return (
        *("locate", "--model", place / "model", "--data", place / "rows.jsonl", "--split", "all"),
        *("--top", 5, "--batch-size", 4, "--device", "cpu", "--out", out),
    )


def test_two_processes_write_and_print_once(brodmann, place, tmp_path):
    one = brodmann(*locate(place, tmp_path / "one"), "--json")
    two = launched(ACCELERATE, "-m", "brodmann", *locate(place, tmp_path / "two"), "--json")
    assert two.returncode == 0, two.stderr
    shown = [json.loads(result.stdout) for result in (one, two)]
    assert [row["neuron"] for row in shown[0]["strongest"]] == [
        row["neuron"] for row in shown[1]["strongest"]
    ]
    assert two.stderr == ""  # no warning either, when the processes part
    scores = NeuronScores.load(tmp_path / "two")
    assert scores.provenance["processes"] == 2
    assert scores.values.allclose(NeuronScores.load(tmp_path / "one").values, rtol=1e-6, atol=0)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_the_failure_of_one_process_ends_all_with_its_message(place, tmp_path):
    script = tmp_path / "broken_in_one.py"
    script.write_text(BROKEN_IN_ONE)
    result = launched(TORCHRUN, script, *locate(place, tmp_path / "out"))
    assert result.returncode != 0
    assert own_lines(result) == [
        "error: RuntimeError: planted; run with --debug for the traceback."
    ]
    assert not (tmp_path / "out").exists()


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
