"""Our settings as the Trainer's arguments."""

import math
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from brodmann.errors import InputError
from brodmann.launch import process_count
from brodmann.tuning.train_settings import OPTIMISERS, TrainSettings


def training_arguments(
    settings: TrainSettings, folder: Path, device: str, total: int, eval_every: int | None
) -> TrainingArguments:
    """Return what the Trainer is told.

    Args:
        settings: how to train.
        folder: where checkpoints go.
        device: where the model is: ``"cpu"`` or ``"cuda"``.
        total: steps in all.
        eval_every: steps between evaluations; None: there are none.

    Raises:
        InputError: a tracker that is not installed.
    """
    per_process = settings.batch_size // process_count()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=per_process,
        per_device_eval_batch_size=per_process,
        gradient_accumulation_steps=settings.accumulate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=OPTIMISERS[settings.optimiser],
        seed=settings.seed,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        # Not the Trainer's own "epoch": it comes behind the checkpoint of the epoch's last step,
        # and a run that goes on from there would miss it.
        eval_strategy="no" if eval_every is None else "steps",
        eval_steps=eval_every,
        **_rates(settings, total),
        **_what_is_kept(settings, total),
    )
    if arguments.n_gpu > 1:  # other GPUs are not for DataParallel, which copies the whole model
        arguments._n_gpu = 1
    return arguments


def _rates(settings: TrainSettings, total: int) -> dict[str, Any]:
    constant = settings.schedule == "constant"
    return {
        "max_steps": total,
        "learning_rate": settings.lr,
        "lr_scheduler_type": "constant_with_warmup" if constant else settings.schedule,
        "warmup_steps": math.ceil(settings.warmup_ratio * total),
    }


def _what_is_kept(settings: TrainSettings, total: int) -> dict[str, Any]:
    known = get_available_reporting_integrations()
    if unknown := sorted(set(settings.report_to) - {*known, "none"}):
        raise InputError(
            f"Expected trackers that are installed ({', '.join(known) or 'there are none'}); got "
            f"{', '.join(unknown)}. Install it, or leave report_to out."
        )
    return {
        "report_to": list(settings.report_to) or "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no" if settings.save_every is None else "steps",
        "save_steps": settings.save_every or total,
        "save_total_limit": 1,
    }
