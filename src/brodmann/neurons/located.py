"""`Located`: a set of neurons as it lies in a folder, with what is known of how it was found."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brodmann.neurons.neuron_set import NeuronSet
from brodmann.neurons.scores import FILE, NeuronScores
from brodmann.storage import read_json


@dataclass(frozen=True, eq=False)
class Located:
    """A set of neurons, and how it was found as far as its folder tells.

    Attributes:
        name: the folder, as it was given.
        neurons: the set.
        scores: of all neurons; None where the folder holds a set only.
        samples: how many examples were located on; None where it is not known.
        seconds: how long locating took; None where it is not known.
    """

    name: str
    neurons: NeuronSet
    scores: NeuronScores | None = None
    samples: int | None = None
    seconds: int | float | None = None

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Located":
        """Load a folder that ``brodmann locate`` or ``NeuronSet.save`` made.

        The time is the record's ``seconds``, or else that of the whole run, in which the model was
        loaded, too.

        Raises:
            InputError: when the folder is missing, corrupt, or holds something else.
        """
        neurons = NeuronSet.load(folder)
        scores = NeuronScores.load(folder) if (Path(folder) / FILE).exists() else None
        record = _record(Path(folder))
        return cls(
            name=str(folder),
            neurons=neurons,
            scores=scores,
            samples=record.get("samples") if scores is None else scores.n_samples,
            seconds=record.get("seconds", record.get("wall_seconds")),
        )

    @property
    def method(self) -> str | None:
        """The name of the method that scored the neurons; None where it is not known."""
        return self.neurons.provenance.get("method")

    def row(self) -> dict[str, Any]:
        """Return ``set``, ``method``, ``neurons`` (how many), ``samples`` and ``seconds``."""
        return {
            "set": self.name,
            "method": self.method,
            "neurons": len(self.neurons),
            "samples": self.samples,
            "seconds": self.seconds,
        }


def _record(folder: Path) -> Mapping[str, Any]:
    """Return what ``run.json`` tells; one of another verb tells nothing of locating."""
    path = folder / "run.json"
    record = read_json(path) if path.exists() else {}
    return record if isinstance(record, Mapping) and record.get("command") == "locate" else {}
