"""A workbench on a tiny random model, and a look at what an experiment returned."""

import math
from pathlib import Path

from brodmann.experiments.workbench import Workbench
from tests.tiny import tiny_model

SIGNS = ("+", "-", "*", "/")


def tiny_bench(folder: Path) -> Workbench:
    """Measure a tiny Llama."""
    hf, tokenizer = tiny_model("llama")
    for part in (hf, tokenizer):
        part.save_pretrained(folder / "model")
    return Workbench(str(folder / "model"), folder / "cache")


def places(cells, block):
    """Where the cells of a block stand."""
    return {(cell["row"], cell["column"]) for cell in cells if cell["block"] == block}


def check_cells(cells):
    """Each cell stands once, and is a finite number inside its interval, or None."""
    seen = [(cell["block"], cell["row"], cell["column"]) for cell in cells]
    assert len(set(seen)) == len(seen)
    for cell in cells:
        numbers = [cell[key] for key in ("low", "value", "high") if cell[key] is not None]
        assert all(math.isfinite(number) for number in numbers)
        if len(numbers) == 3:
            assert numbers[0] <= numbers[1] + 1e-9
            assert numbers[1] <= numbers[2] + 1e-9
