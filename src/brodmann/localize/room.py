"""How much memory the tails may take, and so how many go at once."""

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from brodmann.errors import InputError, RunError
from brodmann.launch import count_on_machine
from brodmann.models.language_model import LanguageModel

SHARE_OF_FREE = 0.6
"""Of the free memory, what tails take unless told."""

MARGIN = 1.3
"""Peak memory over what the backward pass keeps: temporaries of one layer and of one tile."""

CPU_TAILS = 80
"""Tails that start in one layer at once on a CPU: more brings no speed, only memory."""


@dataclass(slots=True)
class Room:
    """How many tasks (answer tokens) of how many scalings each go at once.

    Attributes:
        tasks: answer tokens.
        scalings: scalings of each; fewer than the rule has only where ``tasks`` is 1.
    """

    tasks: int
    scalings: int

    @classmethod
    def within(
        cls, budget: int | float, per_task: int, per_tail: int, steps: int, device: torch.device
    ) -> "Room":
        """As many as the budget holds; one tail at least.

        Args:
            budget: bytes.
            per_task: bytes that the backward pass keeps for an answer token, and
            per_tail: for each scaling of it; measured on the longest sample.
            steps: scalings that an answer token needs.
            device: of the model.
        """
        kept = budget / MARGIN
        tasks = int(kept / (per_task + steps * per_tail))
        if tasks == 0:
            return cls(1, max(1, min(steps, int((kept - per_task) / per_tail))))
        if device.type == "cpu":
            tasks = min(tasks, max(1, CPU_TAILS // steps))
        return cls(tasks, steps)

    def of_one_layer(self, n_layers: int, steps: int) -> "Room":
        """The same memory for tails of a single layer, of which there are fewer to carry."""
        tails = max(1, self.tasks * self.scalings * (n_layers + 1) // 2)
        return Room(max(1, tails // steps), min(tails, steps))

    def halve(self) -> bool:
        """Take half as many at once; False where it is one tail already."""
        if self.tasks > 1:
            self.tasks = (self.tasks + 1) // 2
        elif self.scalings > 1:
            self.scalings = (self.scalings + 1) // 2
        else:
            return False
        return True


def in_chunks(
    room: Room, n_tasks: int, steps: int, compute: Callable[[slice, slice], None]
) -> None:
    """Call ``compute`` with slices of tasks and scalings until all are done.

    A slice that memory does not hold is halved, and so is the room for all that follows.

    Raises:
        RunError: when memory does not hold a single tail.
    """
    left = [(slice(0, n_tasks), slice(0, steps))]
    while left:
        tasks, scalings = left.pop()
        if tasks.stop - tasks.start > room.tasks:
            middle = tasks.start + room.tasks
            left += [(slice(middle, tasks.stop), scalings), (slice(tasks.start, middle), scalings)]
        elif scalings.stop - scalings.start > room.scalings:
            middle = scalings.start + room.scalings
            left += [(tasks, slice(middle, scalings.stop)), (tasks, slice(scalings.start, middle))]
        elif not _fits(compute, tasks, scalings):
            left.append((tasks, scalings))
            if not room.halve():
                raise RunError(
                    "Expected memory for the tails of one scaling; it ran out. Use shorter "
                    "samples, a smaller --dtype, or a device with more memory."
                )


def _fits(compute: Callable[[slice, slice], None], tasks: slice, scalings: slice) -> bool:
    try:
        compute(tasks, scalings)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    else:
        return True
    clear_device_cache(garbage_collection=True)
    return False


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that a device, or the host, has no memory left."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or should_reduce_batch_size(error)


def budget_bytes(model: LanguageModel, memory_gb: int | float | None) -> float:
    """What tails may take, beside the model: what was asked for, or a share of what is free.

    Raises:
        InputError: when it is not above 0.
    """
    if memory_gb is None:
        return SHARE_OF_FREE * _free_bytes(model.device)
    if memory_gb <= 0:
        raise InputError(f"Expected memory in GB above 0; got {memory_gb:g}.")
    return memory_gb * 1e9


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available // count_on_machine()
