"""What a user's own script would do; test_processes.py has a launcher start it several times.

python started_together.py PLACE OUT [STOP]: with STOP, process 0 dies behind that many of its
checkpoints, and process 1 keeps only its first, as if it had saved at other times.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState

import brodmann as bm
from brodmann.localize import checkpoint, processes

METHODS = ("dcsn", "cnl")
AGREEMENT = {"dcsn": 0.8, "cnl": 0.6}
"""Reached neither in the first round nor in the last."""


def opened(place: Path) -> tuple[bm.LanguageModel, list[bm.Example]]:
    """The model and the examples of a folder."""
    torch.set_num_threads(1)
    model = bm.load_model(place / "model", device="cpu")
    return model, bm.load_examples(str(place / "rows.jsonl"), split="all")


def until_stable(method: str) -> bm.UntilStable:
    """A rule that looks behind rounds of three batches: two processes have unequal shares."""
    return bm.UntilStable(
        AGREEMENT[method], partial(bm.NeuronScores.top, k=10), minimum=4, round_size=6
    )


def interrupted(model: bm.LanguageModel, examples: list[bm.Example], out: Path) -> bm.NeuronScores:
    """Scores with a checkpoint, gone on from where it was killed."""
    return bm.locate(
        model, examples, "cnl", batch_size=2, until_stable=until_stable("cnl"),
        checkpoint=out / "state" / "sums.safetensors",
    )  # fmt: skip


def stop_after(saves: int, number: int) -> None:
    """Have process 0 die behind so many checkpoints, and the others save only once."""
    save, told = checkpoint.Checkpoint.save, []

    def dying(self: checkpoint.Checkpoint, *state: object, **more: object) -> None:
        told.append(state)
        if number == 0 or len(told) == 1:
            save(self, *state, **more)
        if number == 0 and len(told) == saves:
            raise RuntimeError("planted")

    checkpoint.Checkpoint.save = dying


def main() -> None:
    """Run, and save each process's results under its number."""
    place, out, stop = Path(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv, 0)[3])
    model, examples = opened(place)
    checkpoint.SECONDS = 0
    state = PartialState(cpu=True)
    number, _ = processes.rank_and_count()
    if stop:
        stop_after(stop, number)
    interrupted(model, examples, out).save(out / f"interrupted.{number}")
    if out.name == "whole":
        for method in METHODS:
            scores = bm.locate(model, examples, method, batch_size=2)
            scores.save(out / f"{method}.{number}")
            stable = bm.locate(
                model, examples, method, batch_size=2, until_stable=until_stable(method)
            )
            stable.save(out / f"{method}-stable.{number}")
    state.destroy_process_group()


if __name__ == "__main__":
    main()
