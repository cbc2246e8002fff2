"""`TrainSettings`: all that decides a training run besides the model and the rows."""

from dataclasses import asdict, dataclass
from typing import Any

from brodmann.errors import InputError

OPTIMISERS = {"adam": "adamw_torch", "sgd": "sgd"}
"""Our names for optimisers, and the Trainer's. AdamW without weight decay is Adam."""

SCHEDULES = ("constant", "linear", "cosine")

_MAY_DIFFER_WHEN_RESUMED = ("resume", "report_to", "save_every", "gradient_checkpointing")


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        lr: the highest learning rate. cnl.txt takes 1e-5.
        epochs: passes over the rows, where ``max_steps`` does not say otherwise.
        max_steps: steps of the optimiser in all; None leaves it to ``epochs``.
        batch_size: rows of a forward pass, over all processes together.
        accumulate: forward passes whose gradients make one step.
        warmup_ratio: the share of all steps in which the learning rate rises from 0.
        weight_decay: AdamW's; 0 is plain Adam. Differences to frozen weights (neuron tuning,
            LoRA) are pulled to the pretrained weights by it, whole weights to 0.
        schedule: how the learning rate goes on behind the warm-up: ``"constant"``, ``"linear"``
            or ``"cosine"``, the latter two to 0.
        optimiser: ``"adam"`` or ``"sgd"``.
        max_grad_norm: longer gradients are cut to this length; 0 cuts none.
        seed: of the order of rows and of dropout.
        gradient_checkpointing: keep less for the backward pass and compute it again.
        eval_every: steps between evaluations; None evaluates at the end of each epoch.
        patience: stop when so many evaluations in a row were no better than the best, and end
            with the best weights; None keeps the last ones.
        report_to: trackers of the Trainer, such as ``("tensorboard",)``.
        save_every: steps between checkpoints; None makes none.
        resume: go on from the folder's checkpoint, where there is one.
    """

    lr: int | float = 1e-5
    epochs: int | float = 1
    max_steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    warmup_ratio: int | float = 0.0
    weight_decay: int | float = 0.0
    schedule: str = "constant"
    optimiser: str = "adam"
    max_grad_norm: int | float = 1.0
    seed: int = 0
    gradient_checkpointing: bool = False
    eval_every: int | None = None
    patience: int | None = None
    report_to: tuple[str, ...] = ()
    save_every: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            InputError: the first of them, by name.
        """
        for name in ("lr", "epochs"):
            _check(name, getattr(self, name) > 0, "a number above 0", getattr(self, name))
        for name in ("batch_size", "accumulate"):
            _check(name, getattr(self, name) >= 1, "1 or more", getattr(self, name))
        for name in ("max_steps", "eval_every", "patience", "save_every"):
            value = getattr(self, name)
            _check(name, value is None or value >= 1, "1 or more, or None", value)
        for name in ("weight_decay", "max_grad_norm", "seed"):
            _check(name, getattr(self, name) >= 0, "0 or more", getattr(self, name))
        ratio = self.warmup_ratio
        _check("warmup_ratio", 0 <= ratio < 1, "a share from 0 to below 1", ratio)
        known = " or ".join(SCHEDULES)
        _check("schedule", self.schedule in SCHEDULES, known, self.schedule)
        known = " or ".join(OPTIMISERS)
        _check("optimiser", self.optimiser in OPTIMISERS, known, self.optimiser)

    def work(self) -> dict[str, Any]:
        """Return what must be the same in a run that goes on from a checkpoint."""
        return {k: v for k, v in asdict(self).items() if k not in _MAY_DIFFER_WHEN_RESUMED}


def _check(name: str, holds: bool, expected: str, given: object) -> None:
    if not holds:
        raise InputError(f"Expected {name} to be {expected}; got {given!r}.")
