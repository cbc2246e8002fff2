"""Erase sets, and random ones, and measure: what is finished is kept and never done again."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from brodmann.data import Example
from brodmann.evaluate import collateral, evaluate, read_neutral
from brodmann.evaluate.collateral import Neutral
from brodmann.experiments.map_jobs import STAGES, Job
from brodmann.experiments.partial import Partial, say
from brodmann.interventions import erased, reference_activations
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress
from brodmann.shapes import LayerNeuron
from brodmann.storage import read_tensors, write_tensors

_ROW_KEYS = ("expression", "prompt", "answer", "output", "predicted", "correct", "margin")

Result = tuple[Job, dict[str, Any]]
"""A job and what was measured."""


class Measurer:
    """Does the jobs of a map.

    Args:
        model: the model; it is changed inside each measurement only.
        tests: the items of each capability.
        neutral: texts that erasures must leave readable.
        batch_size: examples of a batch.
        partial: keeps finished pieces.
        allow_code_execution: see :func:`brodmann.evaluate.evaluate`.
    """

    def __init__(
        self,
        model: LanguageModel,
        tests: Mapping[str, list[Example]],
        neutral: Sequence[str],
        batch_size: int,
        partial: Partial,
        allow_code_execution: bool,
    ) -> None:
        self.model = model
        self.tests = tests
        self.neutral = neutral
        self.batch_size = batch_size
        self.partial = partial
        self.allow_code_execution = allow_code_execution

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Do the jobs, stage by stage, and return what each measured."""
        results = []
        for stage, label in STAGES.items():
            todo = [job for job in jobs if job.stage == stage]
            kept = sum(self.partial.has(job.key) for job in todo)
            if todo:
                say(f"{label}: {len(todo)} measurements" + (f", {kept} kept" if kept else ""))
            for job in progress(todo, len(todo), label):
                results.append((job, self.partial.piece(job.key, lambda job=job: self._do(job))))
        return results

    def magnitudes(self) -> LayerNeuron:
        """Return the mean activation magnitude of each neuron over the tested items."""
        path = self.partial.folder / "magnitudes.safetensors"
        if not path.exists():
            say("Averaging activation magnitudes")
            examples = [example for items in self.tests.values() for example in items]
            found = reference_activations(self.model, examples, batch_size=self.batch_size)
            write_tensors(path, {"magnitude": found.magnitude})
        return read_tensors(path)[0]["magnitude"]

    def _do(self, job: Job) -> dict[str, Any]:
        if job.tested is None:
            return collateral(self.model, lambda: self._edit(job), self._neutral).to_dict()
        with self._edit(job):
            result = evaluate(
                self.model,
                self.tests[job.tested],
                batch_size=self.batch_size,
                allow_code_execution=self.allow_code_execution,
                progress=False,
            )
        summary = {key: cell for key, cell in result.to_dict().items() if key != "provenance"}
        rows = [{key: row[key] for key in _ROW_KEYS if key in row} for row in result.rows]
        return summary | {"rows": rows}

    def _edit(self, job: Job) -> AbstractContextManager[None]:
        return nullcontext() if job.neurons is None else erased(self.model, job.neurons)

    @cached_property
    def _neutral(self) -> Neutral:
        return read_neutral(self.model, self.neutral)
