"""Workbenches on tiny models, and rows to judge."""

from pathlib import Path

from brodmann.experiments.cells import Row, cell
from brodmann.experiments.workbench import Workbench
from tests.tiny import tiny_model


def tiny_bench(folder: Path) -> Workbench:
    """A bench on a tiny random model, which is opened from files as any other."""
    hf, tokenizer = tiny_model("llama")
    for part in (hf, tokenizer):
        part.save_pretrained(folder / "model")
    return Workbench(str(folder / "model"), folder / "cache", batch_size=8)


def accuracy(block: str, row: str, column: str, value: float = 0.5) -> Row:
    """An accuracy that is clearly above chance."""
    ends = {"low": value - 0.1, "high": value + 0.1} if value else {"low": 0.0, "high": 0.1}
    return cell(block, row, column, value, **ends, unit="accuracy", n=40, chance=0.0)


def contrast(
    block: str, row: str, column: str, low: float, high: float, p: float | None = None
) -> Row:
    """A contrast with an interval, and a p that agrees with it."""
    middle = (low + high) / 2
    if p is None:
        p = 1.0 if low <= 0 <= high else 0.001
    ends = {"low": low, "high": high}
    return cell(block, row, column, middle, **ends, unit="change", n=40, p=p, p_holm=p)
