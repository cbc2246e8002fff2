"""What evaluations during training decide: which weights were best, and when to stop."""

from typing import Any

from transformers import TrainerCallback

from brodmann.tuning.trained_weights import Weights, trained_weights

Log = list[dict[str, Any]]
"""The Trainer's log: one entry for each step and each evaluation."""


def best_evaluation(log: Log) -> int | None:
    """Return the step of the lowest loss in evaluations, the first of equal ones."""
    evaluated = _evaluated(log)
    return min(evaluated, key=lambda pair: (pair[1], pair[0]))[0] if evaluated else None


def evaluations_since_best(log: Log) -> int:
    """Return how many evaluations followed the best one."""
    best = best_evaluation(log)
    return sum(best is not None and step > best for step, _ in _evaluated(log))


def _evaluated(log: Log) -> list[tuple[int, float]]:
    return [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]


class BestWeights(TrainerCallback):
    """Keeps the weights of the best evaluation, and stops when no better one comes.

    Args:
        patience: how many evaluations in a row may be no better than the best.

    Attributes:
        weights: the trained parameters of the best evaluation so far.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.weights: Weights | None = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Look at the newest evaluation."""
        if best_evaluation(state.log_history) == state.global_step:
            self.weights = trained_weights(more["model"])
        if evaluations_since_best(state.log_history) >= self.patience:
            control.should_training_stop = True
