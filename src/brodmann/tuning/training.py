"""`train`: teach rows to whatever takes gradients, on the Trainer of transformers."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback

from brodmann.errors import DataError, InputError, LossError
from brodmann.launch import process_count
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress as progress_bar
from brodmann.tuning.answer_trainer import AnswerTrainer, EpochOrder
from brodmann.tuning.answers import Row
from brodmann.tuning.best_weights import BestWeights, best_evaluation, evaluations_since_best
from brodmann.tuning.checkpoints import checkpoint_to_resume, steps_done
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import put_back
from brodmann.tuning.training_arguments import training_arguments
from brodmann.tuning.training_state import left_as_it_was


@dataclass(frozen=True)
class TrainResult:
    """What a training run did.

    Attributes:
        history: one row for each step, from the first on (those of an earlier, interrupted run
            included): ``step``, ``loss`` and ``lr`` of that step, and ``eval_loss`` behind it
            (None where there was no evaluation).
        seconds: how long this run took.
        steps: steps of the optimiser in all.
        best_step: the step with the lowest ``eval_loss``; None without evaluations.
    """

    history: list[dict[str, int | float | None]]
    seconds: float
    steps: int
    best_step: int | None


def train(
    model: LanguageModel,
    trained: nn.Module,
    rows: Sequence[Row],
    settings: TrainSettings,
    folder: Path,
    *,
    eval_rows: Sequence[Row] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    extra_loss: Callable[[nn.Module], Float[Tensor, ""]] | None = None,
    progress: bool | None = None,
) -> TrainResult:
    """Train all parameters of ``trained`` that take gradients, in place.

    The loss is the mean of -log P over the labelled tokens of a step, whatever the number of
    forward passes and processes it is spread over. The order of rows depends on the seed and the
    number of rows alone. No backward pass goes below the lowest layer with a trained parameter,
    with gradient checkpointing neither. Afterwards the model is in eval mode, and besides what it
    learnt as :func:`brodmann.tuning.training_state.left_as_it_was` says; under FSDP its parameters
    stay sharded (:func:`brodmann.tuning.trained_weights.trained_weights` gathers them).

    Args:
        model: the model that learns; its tokenizer's padding and its device are used.
        trained: ``model.hf``, or a PeftModel around it.
        rows: what to learn, from :func:`brodmann.tuning.answers.training_rows`.
        settings: how to learn.
        folder: where checkpoints go.
        eval_rows: rows to evaluate the loss on during training.
        callbacks: more callbacks of the Trainer; they may raise to end the run. One that has a
            ``work(trained)`` is asked what a resumed run must have in common with this one.
        extra_loss: given ``trained``, what to add to the loss of each step.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        The losses step by step, and how long it took.

    Raises:
        InputError: nothing to train, settings that do not go together, or a folder with
            checkpoints that nobody asked to go on from.
        MismatchError: the checkpoints to go on from are another run's.
        DataError: no rows.
        LossError: the loss is no longer a number.
    """
    _check(model, trained, rows, eval_rows, settings)
    batches = math.ceil(len(rows) / settings.batch_size)
    steps_of_epoch = math.ceil(batches / settings.accumulate)
    total = settings.max_steps or math.ceil(settings.epochs * steps_of_epoch)
    eval_every = (settings.eval_every or steps_of_epoch) if eval_rows else None
    arguments = training_arguments(settings, folder, model.device.type, total, eval_every)
    checkpoint = checkpoint_to_resume(
        folder, model, trained, rows, eval_rows or [], settings, callbacks
    )
    best = BestWeights(settings.patience) if settings.patience is not None else None
    fill = settings.batch_size if process_count() > 1 else 1
    with left_as_it_was(trained, settings.gradient_checkpointing):
        trainer = AnswerTrainer(
            trained,
            arguments,
            rows,
            EpochOrder(len(rows), fill, settings.seed),
            steps_of_epoch=steps_of_epoch,
            eval_rows=eval_rows or [],
            pad_id=model.pad_id,
            best=best,
            callbacks=[_FiniteLoss(), _Bar(progress), *callbacks],
            extra_loss=extra_loss,
        )
        trainer.remove_callback(PrinterCallback)
        return _run(trainer, checkpoint, best, total)


def _run(
    trainer: AnswerTrainer, checkpoint: Path | None, best: BestWeights | None, total: int
) -> TrainResult:
    start = time.perf_counter()
    state: Any = steps_done(checkpoint) if checkpoint is not None else None
    patience = best.patience if best is not None else math.inf
    if state is not None and (
        state.global_step >= total or evaluations_since_best(state.log_history) >= patience
    ):
        trainer._load_from_checkpoint(str(checkpoint))  # the Trainer would take one more step
    else:
        _train_through(trainer, checkpoint)
        state = trainer.state
    if best is not None and best.weights is not None:
        module: Any = trainer.model
        put_back(module, best.weights)
    return TrainResult(
        history=_history(state.log_history),
        seconds=time.perf_counter() - start,
        steps=state.global_step,
        best_step=best_evaluation(state.log_history),
    )


def _train_through(trainer: AnswerTrainer, checkpoint: Path | None) -> None:
    """Train to the end; callbacks hear of the end also where an exception makes it."""
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    except BaseException:
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        raise


def _check(
    model: LanguageModel,
    trained: nn.Module,
    rows: Sequence[Row],
    eval_rows: Sequence[Row] | None,
    settings: TrainSettings,
) -> None:
    if not rows:
        raise DataError("Expected at least one row to train on; got none.")
    if not any(parameter.requires_grad for parameter in trained.parameters()):
        raise InputError(
            "Expected a parameter that takes gradients; all are frozen. Add an adapter, or call "
            "requires_grad_(True) on what is to be trained."
        )
    if not eval_rows and (settings.patience is not None or settings.eval_every is not None):
        raise InputError(
            "Expected eval_rows for patience and eval_every; got none. Give rows that are not "
            "trained on, or leave both out."
        )
    if settings.batch_size % process_count():
        raise InputError(
            f"Expected a batch_size that {process_count()} processes can share; got "
            f"{settings.batch_size}. Take a multiple of {process_count()}."
        )
    if process_count() == 1 and model.device.index not in (None, 0):
        raise InputError(
            f"Expected a model on the CPU or the first GPU to train; it is on {model.device}. Set "
            "CUDA_VISIBLE_DEVICES to the GPU you mean."
        )


def _history(log: Sequence[dict[str, Any]]) -> list[dict[str, int | float | None]]:
    steps: dict[int, dict[str, int | float | None]] = {}
    for entry in log:
        if "loss" in entry:
            steps[entry["step"]] = {
                "step": entry["step"],
                "loss": entry["loss"],
                "lr": entry["learning_rate"],
                "eval_loss": None,
            }
        elif "eval_loss" in entry and entry["step"] in steps:
            steps[entry["step"]]["eval_loss"] = entry["eval_loss"]
    return [steps[number] for number in sorted(steps)]


class _FiniteLoss(TrainerCallback):
    """Ends a run whose loss is no longer a number."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name in ("loss", "eval_loss"):
            if not math.isfinite((logs or {}).get(name, 0.0)):
                raise LossError(
                    f"Expected a finite {name}; it is {logs[name]} at step {state.global_step}. "
                    "Take a smaller lr, or a longer warm-up."
                )


class _Bar(TrainerCallback):
    """One bar over all steps."""

    def __init__(self, shown: bool | None) -> None:
        self._shown = shown
        self._bar: Iterator[int] = iter(())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = state.global_step
        self._bar = progress_bar(
            count(done), state.max_steps, "Training", done=done, shown=self._shown
        )
        next(self._bar)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self._bar)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar = iter(())  # a generator that nobody holds closes its bar
