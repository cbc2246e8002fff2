"""`tune_once`: one training of one method; it needs PEFT, which stating a training does not."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brodmann.data import Example
from brodmann.experiments.training import Training
from brodmann.experiments.tune_method import MethodOptions, prepare
from brodmann.models import LanguageModel
from brodmann.tuning.answers import training_rows
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.training import train


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
        LossError: when the loss stops being a number.
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
    rows = training_rows(model, examples, end_of_text=training.end_of_text)
    held_out = rows[kept:] if training.held_out else None
    with TemporaryDirectory() as folder:
        result = train(
            model,
            prepared.trained,
            rows[:kept],
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
