"""A planted model as a folder, its examples as JSONL, and configs of CNL experiments on them."""

import json
import random

from brodmann.experiments.workbench import Workbench
from tests.tiny.planted import TARGETS, TRIGGERS, planted_model

OWN = ((0, 5), (1, 170), (2, 40))
OTHER = ((0, 9), (1, 21), (2, 300))
COMMON = ((0, 33), (1, 44))
LOCATING = {
    "examples": {"sevens": 16, "letters": 16},
    "steps": 4,
    "refine": False,
    "sigma": 3,
    "resamples": 20,
}


def planted_bench(folder, common=()):
    """A workbench whose model turns "=" into "7" by OWN and "?" into "k" by OTHER neurons."""
    planted = planted_model(n_neurons=400, planted=OWN, other=OTHER, common=common)
    planted.hf.save_pretrained(folder / "model")
    planted.tokenizer.save_pretrained(folder / "model")
    return Workbench(str(folder / "model"), folder / "cache")


def planted_data(folder):
    """Data set -> a file of 120 examples, as a config wants it."""
    found = {}
    for which, name in enumerate(("sevens", "letters")):
        generator = random.Random(which)
        words = {"".join(generator.choices("abcdefghij xyz", k=8)) for _ in range(120)}
        rows = [
            {"prompt": word + TRIGGERS[which], "delimiter": "", "answer": TARGETS[which]}
            for word in sorted(words)
        ]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found[name] = str(path)
    return found


def written(row, column, value, low, high, block="Overlap", **more):
    """A cell by hand, for a judge."""
    place = {"block": block, "row": row, "column": column}
    return place | {"value": value, "low": low, "high": high, "unit": "share", "n": 10} | more
