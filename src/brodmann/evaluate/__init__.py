"""Evaluation: generation, scoring, statistics, controls and collateral damage."""

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from brodmann.evaluate.circuit_recall import CircuitRecall, circuit_recall
from brodmann.evaluate.collateral import Collateral, Neutral, collateral, read_neutral
from brodmann.evaluate.controls import random_sets
from brodmann.evaluate.editing import edit_scores
from brodmann.evaluate.evaluate import evaluate
from brodmann.evaluate.evaluation import Evaluation
from brodmann.evaluate.greedy_writer import greedy_writer
from brodmann.evaluate.known_facts import KnownFacts, known_facts
from brodmann.evaluate.neutral import neutral_texts
from brodmann.evaluate.scoring import SCORERS, Scorer
from brodmann.evaluate.statistics import (
    Difference,
    Permutation,
    bootstrap_interval,
    holm,
    mcnemar_p,
    paired_difference,
    permutation_p,
    wilson_interval,
)
from brodmann.evaluate.traces import AveragedTraces, average_traces

__all__ = [
    "SCORERS",
    "AveragedTraces",
    "CircuitRecall",
    "Collateral",
    "Difference",
    "Evaluation",
    "KnownFacts",
    "Neutral",
    "Permutation",
    "Scorer",
    "average_traces",
    "bootstrap_interval",
    "circuit_recall",
    "collateral",
    "edit_scores",
    "evaluate",
    "greedy_writer",
    "holm",
    "known_facts",
    "mcnemar_p",
    "neutral_texts",
    "paired_difference",
    "permutation_p",
    "random_sets",
    "read_neutral",
    "wilson_interval",
]


class _CallablePackage(ModuleType):
    """``brodmann.evaluate`` names this package and the function in it: it is both."""

    @wraps(evaluate)
    def __call__(self, *args: Any, **kwargs: Any) -> Evaluation:
        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
