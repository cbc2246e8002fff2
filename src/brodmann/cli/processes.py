"""One command in several processes: join before the work, one of them speaks, leave together.

A launcher (``accelerate launch``, ``torchrun``) starts the same command several times. Each joins,
takes its share of the batches and gets the scores of all; the first writes and prints. Where no
launcher is, all of this does nothing and imports nothing.
"""

import os
from collections.abc import Sequence
from datetime import timedelta

from brodmann.errors import InputError
from brodmann.launch import count_on_machine, process_count, process_number, wants_cpu

SHARING = ("locate", "tune")
"""The verbs that share their work between processes."""

_PATIENCE = timedelta(days=7)
"""How long processes wait for the slowest. Where one has died, the launcher ends the others."""


def check_verb(words: Sequence[str]) -> None:
    """Refuse a verb that would do everything once in each process.

    Raises:
        InputError: several processes, and a verb that cannot share its work.
    """
    count = process_count()
    if count > 1 and not words[0].startswith("-") and words[0] not in SHARING:
        raise InputError(
            f"Expected one process for 'brodmann {words[0]}'; the launcher started {count}. Only "
            f"{', '.join(SHARING)} share their work: write the command without the launcher."
        )


def join(device: str | None) -> bool:
    """Join the other processes that a launcher started; call it before the model is loaded.

    Args:
        device: what ``--device`` says; each process takes a GPU of its own, or they share the CPU.

    Returns:
        Whether this is the first process, the one that writes and prints. The others are done
        when they have the scores; they wait in :func:`leave`.

    Raises:
        InputError: a device for several processes, or fewer GPUs than processes.
    """
    if process_count() == 1:
        return True
    here = count_on_machine()
    if here > 1 and device not in (None, "cpu", "cuda"):
        raise InputError(
            f"Expected --device cpu, cuda or none, because each of the {here} processes takes a "
            f"device of its own; got '{device}'. Leave it out, or start one process."
        )
    import torch
    from accelerate import PartialState

    on_cpu = device == "cpu" or wants_cpu() or not torch.cuda.is_available()
    if not on_cpu and here > torch.cuda.device_count():
        raise InputError(
            f"Expected at most as many processes as GPUs, {torch.cuda.device_count()}; the "
            f"launcher started {here}. Start fewer, or write --device cpu."
        )
    PartialState(cpu=on_cpu, timeout=_PATIENCE)
    return process_number() == 0


def leave() -> None:
    """Wait until every process is done, and part; nothing where none has joined."""
    if process_count() == 1:
        return
    from torch import distributed

    from brodmann.localize.processes import wait_for_all

    if distributed.is_available() and distributed.is_initialized():
        wait_for_all()
        distributed.destroy_process_group()


def first_to_fail() -> bool:
    """Whether to tell of a failure: the first of the processes that fails does, once.

    A mistake of the caller fails them all, and the failure of one breaks the others' connections.
    The launcher's store counts, which outlives them.
    """
    if process_count() == 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch.distributed import TCPStore

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
            timeout=timedelta(seconds=10), wait_for_workers=False,
        )  # fmt: skip
        return store.add(f"brodmann/failed/{attempt}", 1) == 1
    except (RuntimeError, OSError):  # the launcher is gone: say it rather twice than never
        return True
