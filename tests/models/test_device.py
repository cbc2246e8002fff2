"""Where a model goes when nobody says; the GPUs are only said to be there."""

import pytest
import torch

from brodmann.models.load import _default_device


@pytest.fixture(autouse=True)
def with_gpus(monkeypatch):
    for name in ("LOCAL_RANK", "WORLD_SIZE", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_one_process_takes_the_current_gpu():
    assert _default_device() == torch.device("cuda")


def test_of_several_processes_each_takes_its_own(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    for number in (0, 3):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        assert _default_device() == torch.device("cuda", number)


def test_accelerate_launch_cpu_means_the_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert _default_device() == torch.device("cpu")
