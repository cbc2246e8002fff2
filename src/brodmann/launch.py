"""What a launcher (``accelerate launch``, ``torchrun``) told this process: its number of how many.

Read from the environment alone, so that nothing heavy is imported to know who prints.
"""

import os


def process_number() -> int:
    """This process's number among all that were started together; 0 without a launcher."""
    return _told("RANK", 0)


def process_count() -> int:
    """How many processes were started together; 1 without a launcher."""
    return _told("WORLD_SIZE", 1)


def number_on_machine() -> int:
    """This process's number among those on this machine; 0 without a launcher."""
    return _told("LOCAL_RANK", 0)


def count_on_machine() -> int:
    """How many of the processes run on this machine; 1 without a launcher."""
    return _told("LOCAL_WORLD_SIZE", 1)


def wants_cpu() -> bool:
    """Whether the launcher was told to leave the GPUs alone (``accelerate launch --cpu``)."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")


def _told(name: str, otherwise: int) -> int:
    # Some clusters set WORLD_SIZE and RANK in every container; only a launcher sets LOCAL_RANK.
    if not os.environ.get("LOCAL_RANK"):
        return otherwise
    return int(os.environ.get(name) or otherwise)
