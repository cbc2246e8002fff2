"""Several processes (``accelerate launch``) as one: who takes which batch, and the sum of all."""

from typing import TypeVar

from torch import Tensor, distributed

T = TypeVar("T")


def rank_and_count() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) outside a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def summed(values: Tensor) -> Tensor:
    """The element-wise sum over all processes, on the CPU; every process must call it.

    Args:
        values: a tensor of the same shape in every process; it is left as it is.
    """
    if rank_and_count()[1] == 1:
        return values
    on_gpu = distributed.get_backend() == "nccl"
    total = values.to("cuda" if on_gpu else "cpu", copy=True)
    distributed.all_reduce(total)
    return total.cpu()


def gathered(value: T) -> list[T]:
    """Every process's value, in the order of their numbers; every process must call it.

    Args:
        value: anything small that pickle can carry.
    """
    count = rank_and_count()[1]
    if count == 1:
        return [value]
    found: list[T] = [value] * count
    distributed.all_gather_object(found, value)
    return found


def wait_for_all() -> None:
    """Return when every process has come here."""
    gathered(None)
