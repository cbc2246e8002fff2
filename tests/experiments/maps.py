"""A map of a planted tiny model: two capabilities, each in a file of its own."""

import json
import random
from pathlib import Path

from brodmann.experiments import MapConfig, preset
from brodmann.models.language_model import LanguageModel
from brodmann.models.load import load_model
from tests.tiny import planted_model

PLANTED = ((0, 5), (1, 17), (2, 40))
OTHER = ((0, 100), (1, 200), (2, 300))
COMMON = ((1, 333), (2, 111))


def planted() -> LanguageModel:
    """ "=" is followed by 7 and "?" by k; two neurons help both."""
    found = planted_model(n_neurons=600, planted=PLANTED, other=OTHER, common=COMMON)
    return load_model(found.hf, found.tokenizer)


def write_capabilities(folder: Path, count: int = 60) -> str:
    """Write one JSONL file for each capability; return the words for ``capabilities=``."""
    rng = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    for name, trigger, answer in (("seven", "=", "7"), ("kay", "?", "k")):
        words = {"".join(rng.choices("abcdefghij xyz", k=6)) for _ in range(count)}
        rows = [{"prompt": w + trigger, "delimiter": "", "answer": answer} for w in sorted(words)]
        lines = (json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"seven={folder}/seven.jsonl,kay={folder}/kay.jsonl"


def small_config(folder: Path, **changes: object) -> MapConfig:
    """A map of seconds."""
    given = {
        "capabilities": write_capabilities(folder),
        "examples": 16,
        "fewest": 4,
        "test_items": 6,
        "draws": 2,
        "norm_draws": 1,
        "collateral_draws": 1,
        "dose_draws": 1,
        "resamples": 10,
    }
    return preset("demo", **{**given, **changes})
