import pytest

from brodmann.launch import (
    count_on_machine,
    number_on_machine,
    process_count,
    process_number,
    wants_cpu,
)

TOLD = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


def told():
    return process_number(), process_count(), number_on_machine(), count_on_machine()


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    for name in (*TOLD, "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_there_is_one_process():
    assert told() == (0, 1, 0, 1)
    assert not wants_cpu()


def test_with_a_launcher_it_is_what_the_launcher_says(monkeypatch):
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    assert told() == (5, 8, 1, 4)


def test_what_a_cluster_sets_in_every_container_is_no_launcher(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "5")
    assert told() == (0, 1, 0, 1)


@pytest.mark.parametrize(("said", "cpu"), [("True", True), ("true", True), ("False", False)])
def test_accelerate_says_whether_gpus_are_left_alone(monkeypatch, said, cpu):
    monkeypatch.setenv("ACCELERATE_USE_CPU", said)
    assert wants_cpu() is cpu
