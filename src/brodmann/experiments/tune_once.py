"""One training of one method: what is trained on what, and what came out."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brodmann.data import Example
from brodmann.experiments.sample import Sample
from brodmann.experiments.tune_method import MethodOptions, prepare
from brodmann.models import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.tuning.answers import training_rows
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.training import train


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

    def to_dict(self) -> dict[str, Any]:
        """Return all that decides the training but the examples themselves, in JSON types."""
        told = {name: value for name, value in vars(self).items() if name != "neurons"}
        return told | {"sample": asdict(self.sample), "neurons": pairs_digest(self.neurons)}


def tune_once(
    model: LanguageModel, training: Training, examples: Sequence[Example]
) -> dict[str, Any]:
    """Tune a model, which is changed by it.

    Args:
        model: the model.
        training: how.
        examples: of ``training.sample``.

    Returns:
        ``neurons`` and ``trained_parameters`` (counts), ``seconds``, ``held_out_loss`` (nats a
        token; None where nothing is held out), ``note`` (what the method has to say).

    Raises:
        RunError: when the loss stops being a number.
    """
    name, _, mode = training.method.partition(":")
    options = MethodOptions(
        neurons=training.neurons,
        seed=training.seed,
        rank=training.rank,
        without=mode or "freeze_located",
    )
    prepared = prepare(name, model, options)
    settings = TrainSettings(
        lr=training.lr,
        max_steps=training.steps,
        batch_size=training.batch_size,
        seed=training.seed,
        warmup_ratio=0.1,
        eval_every=training.steps if training.held_out else None,
    )
    kept = len(examples) - training.held_out
    held_out = training_rows(model, examples[kept:]) if training.held_out else None
    with TemporaryDirectory() as folder:
        result = train(
            model,
            prepared.trained,
            training_rows(model, examples[:kept]),
            settings,
            Path(folder),
            eval_rows=held_out,
            callbacks=prepared.callbacks,
            extra_loss=prepared.extra_loss,
        )
    return {
        "neurons": None if training.neurons is None else len(training.neurons),
        "trained_parameters": prepared.trained_parameters,
        "seconds": result.seconds,
        "held_out_loss": result.history[-1]["eval_loss"] if training.held_out else None,
        "note": prepared.note,
    }


def pairs_digest(neurons: NeuronSet | None) -> str | None:
    """Return a digest of which neurons a set holds."""
    if neurons is None:
        return None
    return hashlib.sha256(json.dumps([list(pair) for pair in neurons]).encode()).hexdigest()
