"""Two processes on the CPU, DDP and FSDP2, give the loss curve and the weights of one."""

from pathlib import Path

import pytest
import torch

from brodmann.storage import read_json, read_tensors
from brodmann.tuning.trained_weights import trained_weights
from tests.cli.conftest import write_rows
from tests.launched import ACCELERATE, FSDP2, launched
from tests.tiny import tiny_model
from tests.tuning import trained_together

# On one worker: each launch is two processes already.
pytestmark = pytest.mark.xdist_group("launches")

SCRIPT = trained_together.__file__
LAUNCHED: dict[tuple[str, ...], Path] = {}
ROWS = [
    {"prompt": f"{a} + {b} =", "answer": str(a + b)} for a in range(1, 24) for b in (a * 37 % 90,)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with model/ and rows.jsonl."""
    folder = tmp_path_factory.mktemp("together")
    hf, tokenizer = tiny_model("llama")
    hf.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_rows(folder / "rows.jsonl", ROWS)
    return folder


@pytest.fixture(params=[ACCELERATE, FSDP2], ids=["ddp", "fsdp2"])
def together(place, tmp_path_factory, request) -> Path:
    """What two processes saved; launched once, whatever the order of the tests."""
    if request.param not in LAUNCHED:
        out = tmp_path_factory.mktemp("out")
        done = launched(request.param, SCRIPT, place, out)
        assert done.returncode == 0, done.stderr
        LAUNCHED[request.param] = out
    return LAUNCHED[request.param]


@pytest.mark.parametrize("kind", trained_together.KINDS)
def test_two_processes_train_as_one(place, together, tmp_path, kind, request):
    if kind == "resumed":
        assert [path.name for path in (together / kind).glob("check*")] == ["checkpoint-6"]
    alone, trained = trained_together.run(place, tmp_path, kind)
    expected = trained_weights(trained)
    for number in (0, 1):
        told = read_json(together / f"{kind}.{number}.json")
        assert told["sharded"] == ("fsdp2" in request.node.name)
        history = told["history"]
        assert len(history) == alone.steps == 6
        for mine, its in zip(history, alone.history, strict=True):
            for name, value in its.items():
                assert mine[name] == (None if value is None else pytest.approx(value, rel=1e-4))
        weights, _ = read_tensors(together / f"{kind}.{number}.safetensors")
        assert weights.keys() == expected.keys()
        for name, weight in expected.items():
            torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=1e-4)
