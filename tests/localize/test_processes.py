"""Two processes, started by a launcher as a person would start them, are as good as one."""

from pathlib import Path

import pytest
import torch

from brodmann.localize import locate
from brodmann.neurons import NeuronScores
from brodmann.storage import read_tensors
from tests.cli.conftest import ROWS, write_rows
from tests.launched import ACCELERATE, TORCHRUN, launched
from tests.localize import started_together
from tests.localize.started_together import METHODS, until_stable
from tests.tiny import tiny_model

# On one worker: each launch is two processes already.
pytestmark = pytest.mark.xdist_group("launches")

SCRIPT = started_together.__file__


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with model/ and rows.jsonl."""
    folder = tmp_path_factory.mktemp("together")
    hf, tokenizer = tiny_model("llama")
    hf.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_rows(folder / "rows.jsonl", ROWS)
    return folder


@pytest.fixture(scope="module")
def whole(place) -> Path:
    """What two processes of `accelerate launch` saved."""
    done = launched(ACCELERATE, SCRIPT, place, place / "whole")
    assert done.returncode == 0, done.stderr
    return place / "whole"


def bits(folder: Path) -> dict[str, bytes]:
    tensors, _ = read_tensors(folder / "scores.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_give_the_scores_and_the_set_of_one(place, whole, method):
    alone = locate(*started_together.opened(place), method, batch_size=2)
    for number in (0, 1):
        scores = NeuronScores.load(whole / f"{method}.{number}")
        assert scores.provenance["processes"] == 2
        assert scores.n_samples == alone.n_samples == len(ROWS)
        torch.testing.assert_close(scores.values, alone.values, rtol=1e-6, atol=0)
        torch.testing.assert_close(scores.variance, alone.variance, rtol=1e-6, atol=0)
        assert scores.top(k=20).mask.equal(alone.top(k=20).mask)
    assert bits(whole / f"{method}.0") == bits(whole / f"{method}.1")


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_stop_where_one_does(place, whole, method):
    model, examples = started_together.opened(place)
    alone = locate(model, examples, method, batch_size=2, until_stable=until_stable(method))
    assert 6 < alone.n_samples < len(ROWS)
    for number in (0, 1):
        scores = NeuronScores.load(whole / f"{method}-stable.{number}")
        assert scores.n_samples == alone.n_samples
        torch.testing.assert_close(scores.values, alone.values, rtol=1e-6, atol=0)


def test_killed_processes_go_on_to_the_same_bits(place, whole):
    out = place / "resumed"
    killed = launched(TORCHRUN, SCRIPT, place, out, 4)
    assert killed.returncode != 0
    assert "RuntimeError: planted" in killed.stderr
    assert sorted(path.name for path in out.rglob("*.*")) == [
        "sums.1.safetensors",
        "sums.safetensors",
    ]
    done = launched(TORCHRUN, SCRIPT, place, out)
    assert done.returncode == 0, done.stderr
    for number in (0, 1):
        assert bits(out / f"interrupted.{number}") == bits(whole / f"interrupted.{number}")
