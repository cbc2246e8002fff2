"""Integrated gradients of samples in batches: what CNL and Knowledge Neurons share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data import Example
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.completeness import completed
from brodmann.localize.integrated import Integral, integrated_gradients
from brodmann.localize.paths import PATHS, measured_room, right_path
from brodmann.localize.processes import gathered
from brodmann.localize.room import Room, budget_bytes
from brodmann.localize.run import (
    Plan,
    Sample,
    accumulate,
    batch_sizes,
    mean_by_sample,
    model_provenance,
    rounds_of,
    samples_of,
    sum_by_sample,
    work_of,
)
from brodmann.localize.targets import Reading
from brodmann.localize.until_stable import UntilStable
from brodmann.models.batches import plan_batches, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import read_prefix
from brodmann.models.sites import ExpertSite

TARGETS = ("mean", "first", "sum_logprob")


class Attribution:
    """Scores batches of samples; chooses its path and its room on the longest of them.

    Attributes:
        path: name of the path, as in :data:`brodmann.localize.paths.PATHS`.
        room: how many tails go at once.
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
        refine: bool,
        memory_gb: int | float | None,
    ) -> None:
        """Prepare.

        Raises:
            InputError: an unknown site or rule, or one that the model does not have; no memory.
        """
        self._model = model
        logarithm = target == "sum_logprob"
        self._integral = Integral.of(model, site, quadrature, steps, logarithm=logarithm)
        budget = budget_bytes(model, memory_gb)
        longest = max(samples, key=lambda sample: len(sample.reading.ids)).reading
        prefix = read_prefix(
            model, [longest.ids], torch.tensor([0]), torch.tensor(longest.positions[-1:]),
            self._integral.captured,
        )  # fmt: skip
        self.path = right_path(model, prefix)
        self.room = measured_room(model, prefix, PATHS[self.path], steps, budget)
        experts = any(isinstance(site, ExpertSite) for site in model.sites)
        # Where a router above changes its mind, P jumps, and no number of nodes sees that.
        self._refine = refine and quadrature == "gauss-legendre" and not experts
        self._errors: list[Tensor] = []

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

    def __call__(self, batch: Sequence[Sample]) -> list[Float[Tensor, "B _"]]:
        """Each sample's scores, layer by layer: the mean (or sum) over its answer tokens."""
        model, integral, path = self._model, self._integral, PATHS[self.path]
        readings = [sample.reading for sample in batch]
        owners, positions, targets = _answer_tokens(readings)
        ids = [reading.ids for reading in readings]
        prefix = read_prefix(model, ids, owners, positions, integral.captured)
        tasks = torch.arange(len(targets))
        scores = integrated_gradients(model, prefix, tasks, targets, integral, path, self.room)
        if self._refine or not self._errors:  # what only tells is told of the first batch
            self._errors.append(
                completed(
                    model, prefix, targets, integral, scores, path, self.room, refine=self._refine
                )
            )
        together = sum_by_sample if self._integral.logarithm else mean_by_sample
        return [together(scores[layer], owners, len(batch)) for layer in sorted(scores)]

    def provenance(self) -> dict[str, Any]:
        """How it was computed.

        Completeness errors are of the answer tokens scored since the processes started; where
        nothing is refined, of the first batch.
        """
        own = torch.cat(self._errors).cpu() if self._errors else None
        found = [errors for errors in gathered(own) if errors is not None]
        errors = torch.cat(found) if found else torch.empty(0, 1)
        known = len(errors) > 0
        return {
            "path": self.path,
            "answer_tokens_at_once": self.room.tasks,
            "scalings_at_once": self.room.scalings,
            "completeness_error_median": errors.median().item() if known else None,
            "completeness_error_max": errors.max().item() if known else None,
            "completeness_error_max_by_layer": errors.amax(0).tolist() if known else None,
        }


def _answer_tokens(
    sequences: Sequence[Reading],
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Which tokens are looked at in a batch of readings: (sequence, position, target) of each."""
    owners = [row for row, reading in enumerate(sequences) for _ in reading.positions]
    positions = [position for reading in sequences for position in reading.positions]
    targets = [target for reading in sequences for target in reading.targets]
    return torch.tensor(owners), torch.tensor(positions), torch.tensor(targets)


def attribute(
    model: LanguageModel,
    groups: Mapping[str, Sequence[Example]],
    sums: ScoreSums,
    *,
    method: str,
    target: str,
    site: str,
    quadrature: str,
    steps: int,
    refine: bool,
    chat_template: str,
    batch_size: int | Literal["auto"],
    memory_gb: int | float | None,
    until_stable: UntilStable | None,
    checkpoint: Path | None,
    progress: bool | None,
) -> tuple[ScoreSums, dict[str, Any]]:
    """Add every sample's integrated gradients to running sums; arguments as in ``cnl``.

    Returns:
        The sums over all processes, and the provenance of scores made of them.

    Raises:
        InputError: an unknown option, or a site that the model's layers do not have.
        DataError: no examples, or one that cannot be tokenised apart.
        RunError: memory does not hold a single tail.
    """
    samples = samples_of(model, groups, target=target, allowed=TARGETS, chat_template=chat_template)
    options: dict[str, Any] = {
        "method": method, "target": target, "site": site, "quadrature": quadrature,
        "steps": steps, "refine": refine, "chat_template": chat_template,
    }  # fmt: skip
    attribution = Attribution(
        model, samples, target=target, site=site, quadrature=quadrature, steps=steps,
        refine=refine, memory_gb=memory_gb,
    )  # fmt: skip
    keeper = Checkpoint(checkpoint, work_of(model, samples, options | dict(sums.rule)))
    plan = attribution.kept_plan(keeper, samples, batch_size, until_stable)
    total = accumulate(
        sums,
        samples,
        plan,
        attribution,
        label=f"Locating ({method})",
        checkpoint=keeper,
        progress=progress,
        until_stable=until_stable,
    )
    provenance = options | model_provenance(model) | attribution.provenance()
    return total, provenance | {"batch_plan": batch_sizes(plan)}
