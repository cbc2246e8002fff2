"""`Workbench`: one model, and what was measured on it, each thing once.

Several tables ask for the same scores and answers. Everything long is kept in a folder under a
key that holds all that decides it: the model's weights, configuration and tokenizer, the very
examples, the method and its options, and a version of our own. So a run that was interrupted goes
on, and an experiment that shares work with another does it only once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from brodmann.data import DataSpec, Example, Fact, load_examples, load_facts
from brodmann.data.registry import DATASETS
from brodmann.errors import InputError
from brodmann.evaluate import Evaluation, collateral, evaluate, neutral_texts, read_neutral
from brodmann.evaluate.collateral import Neutral
from brodmann.experiments.examples_digest import examples_digest, judged_by
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training, pairs_digest
from brodmann.interventions import erased, reference_activations
from brodmann.localize import locate
from brodmann.models import LanguageModel, load_model
from brodmann.models.fingerprint import reading_digest
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.shapes import LayerNeuron
from brodmann.storage import (
    new_folder,
    plain,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from brodmann.tuning.on_import import check_peft

RESULTS_VERSION = 1
"""Raised when the same work gives other numbers than before: a scorer, a template, a method."""

OWN_FACTS = "own"
"""What :meth:`Workbench.facts` calls the facts that are shipped."""


class Workbench:
    """A model and what has been measured on it.

    Args:
        name: of the model, as :func:`brodmann.load_model` takes it.
        cache: the folder that keeps what is measured.
        device: where to run; ``"auto"`` spreads the layers.
        dtype: what to compute in.
        data_dir: a folder with the public data sets, for specs that read one (``dir=``).
        batch_size: examples of a batch, or ``"auto"``.
        allow_code_execution: let model-written programs be run where they are scored by tests.

    Attributes:
        dtype: what was asked for; None where the model decides.
        used: the samples that were asked for, each with a digest of its examples.
    """

    def __init__(
        self,
        name: str,
        cache: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        data_dir: Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        allow_code_execution: bool = False,
    ) -> None:
        self.name = name
        self.cache = cache
        self.data_dir = data_dir
        self.batch_size: int | Literal["auto"] = batch_size
        self.allow_code_execution = allow_code_execution
        self._device = device
        self.dtype = dtype
        self._model: LanguageModel | None = None
        self._examples: dict[Sample, list[Example]] = {}
        self.used: dict[Sample, str] = {}

    @property
    def model(self) -> LanguageModel:
        """The model as it is."""
        if self._model is None:
            self._model = self._open()
        return self._model

    def examples(self, sample: Sample) -> list[Example]:
        """Return the examples of a sample."""
        if sample not in self._examples:
            spec = self._placed(sample.spec)
            self._examples[sample] = load_examples(spec, sample.split, sample.limit, sample.seed)
        found = self._examples[sample]
        if sample not in self.used:
            self.used[sample] = examples_digest(found, judged_by(self._placed(sample.spec), found))
        return found

    def facts(self, name: str) -> list[Fact]:
        """Return the facts of a file or folder, looked for in the folder of data sets first.

        ``"own"`` are ten facts that are shipped. What was used is told as of samples.

        Raises:
            InputError: there are no such facts.
            DataError: they cannot be read.
        """
        places = [] if self.data_dir is None else [self.data_dir / name]
        places.append(Path(name))
        source = next((str(path) for path in places if path.exists()), name)
        if name == OWN_FACTS:
            source = str(files("brodmann.data") / "own_facts.jsonl")
        elif source == name and not places[-1].exists() and not name.startswith("hub:"):
            raise InputError(
                f"Expected facts in {' or '.join(map(str, places))}; there are none. Write "
                "--data-dir with the folder that holds them, or --set facts=PATH."
            )
        facts = load_facts(source)
        examples = [example for fact in facts for example in fact.examples()]
        self.used[Sample(name, "all")] = examples_digest(examples)
        return facts

    def digest(self, sample: Sample) -> str:
        """Return a digest of a sample's very examples, for keys."""
        self.examples(sample)
        return self.used[sample]

    def scores(self, sample: Sample, method: str = "dcsn", **options: Any) -> NeuronScores:
        """Score every neuron on a sample; see :func:`brodmann.locate`."""
        examples = self.examples(sample)
        key = {"scores": self.digest(sample), "method": method, "options": options}
        folder = self.cache / f"scores-{self._name(key)}"
        if not folder.exists():
            say(f"{self.name}: locating ({method}) on {len(examples)} x {sample.spec}")
            with new_folder(folder) as new:
                found = locate(self.model, examples, method, batch_size=self.batch_size, **options)
                found.write_into(new)
                write_json(new / "key.json", self._key(key))
        return NeuronScores.load(folder)

    def norms(self, examples: Sequence[Example]) -> LayerNeuron:
        """Return each neuron's mean |z| over all tokens of some examples."""
        key = {"norms": examples_digest(examples)}
        path = self.cache / f"norms-{self._name(key)}.safetensors"
        if not path.exists():
            say(f"{self.name}: activation norms on {len(examples)} examples")
            found = reference_activations(
                self.model, examples, batch_size=self.batch_size, progress=False
            )
            write_tensors(path, {"magnitude": found.magnitude})
        return read_tensors(path)[0]["magnitude"]

    def answers(self, sample: Sample, without: NeuronSet | None = None) -> Evaluation:
        """Let the model answer a sample, as it is or with neurons erased."""
        examples = self.examples(sample)
        key = {"answers": self.digest(sample), "without": pairs_digest(without)}
        rows = self.piece(key, lambda: self._answers(self.model, examples, without))
        return Evaluation.from_rows(rows)

    def neutral(self, without: NeuronSet) -> dict[str, Any]:
        """Read neutral text with neurons erased; :class:`brodmann.evaluate.Collateral` as JSON."""
        key = {"neutral": list(neutral_texts()), "without": pairs_digest(without)}
        return self.piece(
            key,
            lambda: collateral(
                self.model, lambda: erased(self.model, without), self._neutral
            ).to_dict(),
        )

    def tuned(
        self, training: Training, tests: Sequence[Sample]
    ) -> tuple[dict[str, Any], dict[Sample, Evaluation]]:
        """Tune the model as it is, measure it, and leave it as it was.

        Args:
            training: what to train on what.
            tests: what to measure behind it.

        Returns:
            What :func:`brodmann.experiments.tune_once.tune_once` tells of the training, and the
            tuned model's answers.
        """
        lists = [self.examples(test) for test in tests]
        train = self.examples(training.sample)
        key: dict[str, Any] = {"tuned": training.to_dict(), "train": self.digest(training.sample)}
        key["tests"] = [self.digest(test) for test in tests]

        def make() -> dict[str, Any]:
            say(f"{self.name}: tuning by {training.method} on {training.sample.spec}")
            model, self._model = self.model, None  # its weights change; the next use opens it anew
            told = _train(model, training, train)
            return {"told": told, "rows": [self._answers(model, examples) for examples in lists]}

        made = self.piece(key, make)
        measured = (Evaluation.from_rows(rows) for rows in made["rows"])
        return made["told"], dict(zip(tests, measured, strict=True))

    def piece(self, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return what is kept under a key; if there is nothing, make it and keep it.

        Args:
            key: everything that decides the value besides the model, in JSON types.
            make: makes the value, in JSON types.
        """
        path = self.cache / f"{self._name(key)}.json"
        if not path.exists():
            write_json(path, {"key": self._key(key), "value": make()})
        return read_json(path)["value"]

    def trained_copy(
        self, training: Training, examples: Sequence[Example] | None = None
    ) -> LanguageModel:
        """Return another copy of the model, tuned, and leave this one as it is.

        It is tuned on the examples of the training's sample, or on those that are given.
        """
        copy = self._open()
        _train(copy, training, self.examples(training.sample) if examples is None else examples)
        return copy

    def close(self) -> None:
        """Let go of the model; it is opened again when it is needed."""
        self._model = None
        self.__dict__.pop("_neutral", None)

    @cached_property
    def fingerprint(self) -> str:
        """Of the model's weights."""
        return self.model.fingerprint

    @cached_property
    def reads(self) -> str:
        """Of the model's configuration and its tokenizer: what weights alone do not decide."""
        return reading_digest(self.model.hf.config, self.model.tokenizer)

    @cached_property
    def _neutral(self) -> Neutral:
        return read_neutral(self.model, neutral_texts())

    def _open(self) -> LanguageModel:
        if self._device == "auto":
            return load_model(self.name, dtype=self.dtype, device_map="auto")
        return load_model(self.name, dtype=self.dtype, device=self._device)

    def _answers(
        self, model: LanguageModel, examples: Sequence[Example], without: NeuronSet | None = None
    ) -> list[dict[str, Any]]:
        with erased(model, without) if without is not None else nullcontext():
            found = evaluate(
                model,
                examples,
                batch_size=self.batch_size,
                allow_code_execution=self.allow_code_execution,
                progress=False,
            )
        return [dict(row) for row in found.rows]

    def _placed(self, text: str) -> DataSpec:
        spec = DataSpec.parse(text)
        reads_folder = spec.kind == "named" and "dir" in DATASETS.get(spec.name).options
        if self.data_dir is None or not reads_folder or "source" in spec.options:
            return spec
        return spec.with_defaults(dir=str(self.data_dir))

    def _key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        model = {"model": self.fingerprint, "reads": self.reads, "dtype": str(self.model.dtype)}
        return plain({"version": RESULTS_VERSION, **model, **key})

    def _name(self, key: Mapping[str, Any]) -> str:
        text = json.dumps(self._key(key), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _train(model: LanguageModel, training: Training, examples: Sequence[Example]) -> dict[str, Any]:
    check_peft()
    # Only here, so that all that tunes nothing runs without PEFT.
    from brodmann.experiments.tune_once import tune_once

    return tune_once(model, training, examples)
