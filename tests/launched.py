"""Start a command in two processes, as a person would, on the CPU."""

import os
import subprocess
import sys

ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"),
    *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
)
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
FSDP2 = (
    *("accelerate.commands.launch", "--use_fsdp", "--fsdp_version=2", "--num_processes=2"),
    *("--fsdp_auto_wrap_policy=TRANSFORMER_BASED_WRAP", "--main_process_port=0"),
    *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
)


def launched(launcher: tuple[str, ...], *words: object) -> subprocess.CompletedProcess[str]:
    """Run to the end; the launcher finds a free port."""
    return subprocess.run(
        [sys.executable, "-m", *launcher, *map(str, words)],
        capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
