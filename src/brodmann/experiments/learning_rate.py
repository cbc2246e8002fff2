"""Which learning rate suits a method: the one whose held-out loss is the lowest."""

import dataclasses
import math
from collections.abc import Sequence

from brodmann.errors import InputError, LossError
from brodmann.experiments.training import Training
from brodmann.experiments.workbench import Workbench


def best_rate(
    bench: Workbench, training: Training, rates: Sequence[float]
) -> tuple[float, dict[float, float]]:
    """Try learning rates, and return the best.

    Args:
        bench: the model.
        training: what to train; its own rate does not count, its held-out examples decide.
        rates: what to try; a single one is taken without trial.

    Returns:
        The rate, and the held-out loss (nats a token) of each that was tried; infinite where the
        loss stopped being a number.

    Raises:
        InputError: no rates, or several and nothing held out to choose by.
    """
    if not rates or (len(rates) > 1 and not training.held_out):
        raise InputError(
            f"Expected learning rates and held-out examples to choose by; got {len(rates)} rates "
            f"and {training.held_out} examples. Set held_out, or give one rate."
        )
    if len(rates) == 1:
        return rates[0], {}
    tried = {}
    for lr in rates:
        try:
            told, _ = bench.tuned(dataclasses.replace(training, lr=lr), [])
            tried[lr] = told["held_out_loss"]
        except LossError:  # the loss is no number any more: too fast
            tried[lr] = math.inf
    return min(tried, key=lambda lr: tried[lr]), tried
