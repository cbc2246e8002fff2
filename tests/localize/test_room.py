"""Memory: how many tails go at once, what happens when it runs out, and that bits hardly care."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brodmann.errors import InputError, RunError
from brodmann.localize import locate
from brodmann.localize.room import CPU_TAILS, MARGIN, Room, budget_bytes, in_chunks
from brodmann.localize.run import Sample, halving
from brodmann.localize.tails import tail_gradients
from brodmann.localize.targets import Reading
from tests.tiny.answers import EXAMPLES, relative_error, rounding
from tests.tiny.opened import opened

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OUT_OF_MEMORY = (torch.OutOfMemoryError("a GPU's"), MemoryError("Python's"))


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    """What runs out of memory collects garbage: tests do so thousands of times."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@settings(max_examples=200, deadline=None)
@given(
    budget=st.floats(1, 1e12),
    per_task=st.integers(0, 10**9),
    per_tail=st.integers(1, 10**9),
    steps=st.integers(1, 64),
)
def test_a_room_holds_what_the_budget_does_and_no_less(budget, per_task, per_tail, steps):
    def kept(tasks, scalings):
        return tasks * (per_task + scalings * per_tail) * MARGIN

    room = Room.within(budget, per_task, per_tail, steps, GPU)
    assert 1 <= room.scalings <= steps
    assert room.tasks >= 1
    assert room.scalings == steps or room.tasks == 1
    if (room.tasks, room.scalings) != (1, 1):
        assert kept(room.tasks, room.scalings) <= budget * (1 + 1e-9)
    if room.scalings == steps:
        assert kept(room.tasks + 1, steps) > budget * (1 - 1e-9)
    else:
        assert kept(1, room.scalings + 1) > budget * (1 - 1e-9)
    on_cpu = Room.within(budget, per_task, per_tail, steps, CPU)
    assert on_cpu.scalings == room.scalings
    assert on_cpu.tasks == min(room.tasks, max(1, CPU_TAILS // steps))


@given(
    tasks=st.integers(1, 500),
    scalings=st.integers(1, 20),
    n_layers=st.integers(1, 80),
    steps=st.integers(1, 320),
)
def test_a_room_of_one_layer_holds_as_many_tails(tasks, scalings, n_layers, steps):
    """Tails that start in every layer pass through (L + 1) / 2 layers each, on the average."""
    room = Room(tasks, scalings).of_one_layer(n_layers, steps)
    tails = tasks * scalings * (n_layers + 1) / 2
    assert 1 <= room.scalings <= steps
    assert room.tasks >= 1
    assert room.tasks * room.scalings <= max(1, tails)
    assert (room.tasks + 1) * steps > tails - 1
    assert room.scalings == steps or room.tasks == 1


@given(tasks=st.integers(1, 1000), scalings=st.integers(1, 1000))
def test_halving_gives_up_tasks_first_and_ends_at_one_tail(tasks, scalings):
    room, sizes = Room(tasks, scalings), [(tasks, scalings)]
    while room.halve():
        (before, of_each), (now, each) = sizes[-1], (room.tasks, room.scalings)
        assert now * each < before * of_each
        assert 2 * now >= before
        assert 2 * each >= of_each
        assert each == of_each or before == 1
        sizes.append((now, each))
    assert sizes[-1] == (room.tasks, room.scalings) == (1, 1)


@settings(max_examples=200, deadline=None)
@given(
    room=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    n_tasks=st.integers(1, 15),
    steps=st.integers(1, 15),
    runs_out=st.sets(st.integers(0, 30), max_size=12),
)
def test_every_cell_is_computed_once_however_often_memory_runs_out(room, n_tasks, steps, runs_out):
    space, calls = Room(*room), []
    done = torch.zeros(n_tasks, steps, dtype=torch.int64)

    def compute(tasks, scalings):
        calls.append(done[tasks, scalings].shape)
        assert 0 < calls[-1][0] <= space.tasks
        assert 0 < calls[-1][1] <= space.scalings
        if (space.tasks, space.scalings) != (1, 1) and len(calls) in runs_out:
            raise OUT_OF_MEMORY[len(calls) % 2]
        done[tasks, scalings] += 1

    in_chunks(space, n_tasks, steps, compute)
    assert (done == 1).all()


@settings(max_examples=100, deadline=None)
@given(
    holds=st.integers(1, 60),
    room=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    n_tasks=st.integers(1, 40),
)
def test_the_room_ends_at_what_memory_holds(holds, room, n_tasks):
    """Memory of a size runs out a few times, and never again."""
    space, failures = Room(*room), []

    def compute(tasks, scalings):
        size = (tasks.stop - tasks.start) * (scalings.stop - scalings.start)
        if size > holds:
            failures.append(size)
            raise MemoryError

    in_chunks(space, n_tasks, room[1], compute)
    assert len(failures) <= 12
    failures.clear()
    in_chunks(space, n_tasks, room[1], compute)
    assert space.tasks * space.scalings <= max(holds, 1) or n_tasks < space.tasks
    assert not failures


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_for_no_tail_is_an_error_in_one_line(error):
    def compute(tasks, scalings):
        raise error

    with pytest.raises(RunError, match="memory") as caught:
        in_chunks(Room(3, 5), 7, 5, compute)
    assert "\n" not in str(caught.value)


def test_other_errors_pass_through():
    def compute(tasks, scalings):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_chunks(Room(3, 5), 7, 5, compute)


def test_memory_of_a_cpu_runs_out_like_a_gpus():
    done = []

    def compute(tasks, scalings):
        torch.empty(10**15 if tasks.stop - tasks.start > 1 else 1)
        done.append(tasks.start)

    in_chunks(Room(4, 1), 4, 1, compute)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", ["llama", "phi", "gemma2", "gptj", "mixtral", "bloom"])
def test_scores_in_little_memory_are_those_in_plenty(family, dtype):
    model = opened(family, dtype)
    little, plenty = (
        locate(model, EXAMPLES[:4], method="cnl", refine=False, steps=6, memory_gb=memory)
        for memory in (1e-6, 4)
    )
    assert little.provenance["answer_tokens_at_once"] == 1
    assert little.provenance["scalings_at_once"] < 6
    assert plenty.provenance["answer_tokens_at_once"] == CPU_TAILS // 6
    limit = 5e-6 if dtype == torch.float32 else rounding(family, dtype)
    assert relative_error(little.values, plenty.values) < limit


def test_refined_scores_in_little_memory_are_those_in_plenty():
    model = opened("qwen3", torch.float64)
    little, plenty = (
        locate(model, EXAMPLES, method="cnl", memory_gb=memory) for memory in (1e-4, 4)
    )
    assert little.provenance["scalings_at_once"] < 20
    assert relative_error(little.values, plenty.values) < 1e-6


def test_a_run_that_runs_out_of_memory_goes_on_in_smaller_parts(monkeypatch):
    model = opened("llama", torch.float64)
    expected = locate(model, EXAMPLES, method="cnl", refine=False)
    failures = []

    def scarce(model, prefix, tasks, *args, **options):
        scalings = args[1][0].shape[1]
        if len(tasks) * scalings > 6:
            failures.append(len(tasks))
            raise torch.OutOfMemoryError
        return tail_gradients(model, prefix, tasks, *args, **options)

    monkeypatch.setattr("brodmann.localize.integrated.tail_gradients", scarce)
    found = locate(model, EXAMPLES, method="cnl", refine=False)
    assert 0 < len(failures) < 6  # it remembers what did not fit
    assert found.provenance["answer_tokens_at_once"] == 1
    assert found.provenance["scalings_at_once"] <= 6
    assert relative_error(found.values, expected.values) < 1e-6


def samples(n):
    return [Sample(0, index, Reading((5, 6), (1,), (7,))) for index in range(n)]


@given(n=st.integers(1, 20), holds=st.integers(1, 20))
def test_batches_that_do_not_fit_are_scored_in_halves(n, holds):
    sizes = []

    def score(batch):
        sizes.append(len(batch))
        if len(batch) > holds:
            raise torch.OutOfMemoryError
        numbers = torch.tensor([[float(sample.index)] for sample in batch])
        return [numbers, numbers + 100]

    first, second = halving(score, samples(n))
    assert first[:, 0].tolist() == list(range(n))
    assert torch.equal(second, first + 100)
    assert sizes[0] == n
    assert sum(size for size in sizes if size <= holds) == n


def test_a_sample_that_does_not_fit_is_an_error_with_its_length():
    def score(batch):
        raise MemoryError

    with pytest.raises(RunError, match="2 tokens") as caught:
        halving(score, samples(3))
    assert "\n" not in str(caught.value)


def test_a_budget_is_what_was_asked_for_or_a_share_of_what_is_free():
    model = opened("gpt2")
    assert budget_bytes(model, 2) == 2e9
    assert budget_bytes(model, 0.5) == 5e8
    assert 1e6 < budget_bytes(model, None) < 1e14
    for none in (0, -1):
        with pytest.raises(InputError, match="above 0"):
            budget_bytes(model, none)
