"""Integrated gradients of samples in batches: what CNL and Knowledge Neurons share."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.integrated import Integral, answer_tokens, integrated_gradients
from brodmann.localize.paths import PATHS, completeness_error, measured_room, right_path
from brodmann.localize.room import Room, budget_bytes
from brodmann.localize.run import Plan, Sample, mean_by_sample, rounds_of
from brodmann.localize.until_stable import UntilStable
from brodmann.models.batches import plan_batches, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix, read_prefix

TARGETS = ("mean", "first", "sum_logprob")


class Attribution:
    """Scores batches of samples; chooses its path and its room on the longest of them.

    Attributes:
        path: name of the path, as in :data:`brodmann.localize.paths.PATHS`.
        room: how many tails go at once.
        completeness: the largest completeness error over the layers of the first answer token
            scored (see :func:`brodmann.localize.paths.completeness_error`); None before that.
    """

    def __init__(
        self,
        model: LanguageModel,
        samples: Sequence[Sample],
        *,
        target: str,
        site: str,
        quadrature: str,
        steps: int,
        memory_gb: int | float | None,
    ) -> None:
        """Prepare.

        Raises:
            InputError: an unknown site or rule, or one that the model does not have; no memory.
        """
        self._model = model
        self._summed = target == "sum_logprob"
        self._integral = Integral.of(model, site, quadrature, steps, logarithm=self._summed)
        budget = budget_bytes(model, memory_gb)
        longest = max(samples, key=lambda sample: len(sample.reading.ids)).reading
        prefix = read_prefix(
            model, [longest.ids], torch.tensor([0]), torch.tensor(longest.positions[-1:]),
            self._integral.captured,
        )  # fmt: skip
        self.path = right_path(model, prefix)
        self.room = measured_room(model, prefix, PATHS[self.path], steps, budget)
        self.completeness: float | None = None

    def kept_plan(
        self,
        checkpoint: Checkpoint,
        samples: Sequence[Sample],
        batch_size: int | Literal["auto"],
        until_stable: UntilStable | None = None,
    ) -> Plan:
        """The batches and the room of an interrupted run, else those that fit now.

        Raises:
            InputError: a batch size below 1.
        """
        rounds = rounds_of(
            samples, lambda part: self._batches(samples, part, batch_size), until_stable
        )
        chosen = {"rounds": rounds, "tasks": self.room.tasks, "scalings": self.room.scalings}
        kept = checkpoint.plan(chosen)
        self.room = Room(kept["tasks"], kept["scalings"])
        return kept["rounds"]

    def _batches(
        self,
        samples: Sequence[Sample],
        numbers: Sequence[int],
        batch_size: int | Literal["auto"],
    ) -> list[list[int]]:
        """The samples of a batch go through the tails in one chunk where they are not too long."""
        lengths = [len(samples[number].reading.ids) for number in numbers]
        if batch_size != "auto":
            plan = plan_batches(lengths, batch_size, token_budget(self._model.hf))
            return [[numbers[i] for i in batch] for batch in plan]
        plan: list[list[int]] = []
        room = 0
        for index in sorted(range(len(numbers)), key=lambda i: (-lengths[i], i)):
            tasks = len(samples[numbers[index]].reading.positions)
            if room < tasks:
                plan.append([])
                room = self.room.tasks
            plan[-1].append(numbers[index])
            room -= tasks
        return plan

    def __call__(self, batch: Sequence[Sample]) -> list[Float[Tensor, "B n"]]:
        """Each sample's scores, layer by layer: the mean (or sum) over its answer tokens."""
        readings = [sample.reading for sample in batch]
        owners, positions, targets = answer_tokens(readings)
        prefix = read_prefix(
            self._model,
            [reading.ids for reading in readings],
            owners,
            positions,
            self._integral.captured,
        )
        scores = integrated_gradients(
            self._model, prefix, targets, self._integral, PATHS[self.path], self.room
        )
        if self.completeness is None:
            self.completeness = self._completeness(prefix, targets, scores)
        means = [mean_by_sample(layer, owners, len(batch)) for layer in scores]
        if not self._summed:
            return means
        tokens = torch.bincount(owners)[:, None]
        return [layer * tokens.to(layer) for layer in means]

    def _completeness(self, prefix: Prefix, targets: Tensor, scores: Sequence[Tensor]) -> float:
        first = torch.tensor([0])
        sums = torch.stack([layer[:1].sum(1).cpu() for layer in scores], dim=1)
        error = completeness_error(
            self._model, prefix, first, targets[:1], sums, PATHS[self.path],
            logarithm=self._summed,
        )  # fmt: skip
        return float(error.max())

    def provenance(self) -> dict[str, Any]:
        """How it was computed."""
        return {
            "path": self.path,
            "answer_tokens_at_once": self.room.tasks,
            "scalings_at_once": self.room.scalings,
            "completeness_error": self.completeness,
        }
