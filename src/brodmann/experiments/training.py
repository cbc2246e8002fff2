"""`Training`: what is trained on what, in values that a key can be made of."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from brodmann.experiments.sample import Sample
from brodmann.neurons import NeuronSet

WITHOUT_SET = ("full", "lora", "olora")
"""Methods of tuning that do not look at a located set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What to train, and on what.

    Attributes:
        method: a tuning method, with the mode behind a colon: ``"without:freeze_located"``.
        sample: what to train on; its last ``held_out`` examples are kept back for the loss.
        neurons: the located set, for methods that have to do with one.
        lr: the learning rate.
        steps: of the optimiser.
        batch_size: rows of a step.
        seed: of the order of rows, and of random neurons.
        rank: of LoRA.
        held_out: examples that are not trained on.
        end_of_text: learn to stop behind the answer, too.
    """

    method: str
    sample: Sample
    neurons: NeuronSet | None
    lr: int | float
    steps: int
    batch_size: int = 8
    seed: int = 0
    rank: int = 8
    held_out: int = 0
    end_of_text: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return all that decides the training but the examples themselves, in JSON types."""
        told = {name: value for name, value in vars(self).items() if name != "neurons"}
        return told | {"sample": asdict(self.sample), "neurons": pairs_digest(self.neurons)}


def pairs_digest(neurons: NeuronSet | None) -> str | None:
    """Return a digest of which neurons a set holds."""
    if neurons is None:
        return None
    return hashlib.sha256(json.dumps([list(pair) for pair in neurons]).encode()).hexdigest()
