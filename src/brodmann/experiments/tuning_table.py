"""dcsn.txt Table 6: tune on one capability, measure it and others, against every baseline.

One row for each method, seed and data spec; nothing is plotted here. Finished runs are kept, so
that an interrupted table goes on where it was.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brodmann.data import Example, load_examples
from brodmann.errors import RunError
from brodmann.evaluate import Evaluation, evaluate
from brodmann.evaluate.transfer import transfer_rows
from brodmann.experiments.partial import Partial, say
from brodmann.experiments.tune_method import MethodOptions, prepare
from brodmann.experiments.tuning_summary import summary_rows
from brodmann.localize import locate
from brodmann.models import LanguageModel, load_model
from brodmann.neurons import NeuronSet
from brodmann.tuning.answers import training_rows
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.training import train

HELD_OUT = 32
"""Training examples that are held out: their loss chooses each method's learning rate."""


@dataclass(frozen=True, kw_only=True)
class TuningTableConfig:
    """What is tuned on what, and measured on what.

    Attributes:
        model: as :func:`brodmann.load_model` takes it.
        fit: the data spec that is tuned on.
        others: specs to generalise to.
        methods: names, with the mode behind a colon: ``"without:freeze_located"``.
        sigma: of the located set (DCSN, first answer token).
        n_located: examples it is located on.
        n_train: examples to train on.
        n_test: examples of each spec to measure on; the same for all seeds and methods.
        seeds: of the training examples, their order, and the random neurons.
        steps: of the optimiser, for every method.
        batch_size: rows of a step.
        rank: of LoRA.
        rates: learning rates to choose from, for each method by itself, by the loss on held-out
            training examples of the first seed.
    """

    model: str = "smollm2-135m"
    fit: str = "arithmetic/add:template=plain,shots=2,max=20"
    others: tuple[str, ...] = tuple(
        f"arithmetic/{name}:template=plain,shots=2,max=20"
        for name in ("sub", "mul", "div", "add-sub", "add-mul", "add-div")
    )
    methods: tuple[str, ...] = (
        "neurons",
        "random",
        "without:freeze_located",
        "without:erase_then_tune_rest",
        "full",
        "lora",
    )
    sigma: int | float = 6
    n_located: int = 64
    n_train: int = 256
    n_test: int = 40
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 30
    batch_size: int = 8
    rank: int = 8
    rates: Mapping[str, Sequence[float]] = field(
        default_factory=lambda: {
            "default": (1e-5, 1e-4),
            "neurons": (1e-3, 1e-2),
            "random": (1e-3, 1e-2),
            "lora": (1e-3, 1e-2),
        }
    )


@dataclass(frozen=True)
class TuningTable:
    """What came out.

    Attributes:
        rows: of :func:`brodmann.evaluate.transfer.transfer_rows`, for each method and seed.
        summary: of :func:`brodmann.experiments.tuning_summary.summary_rows`.
    """

    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]


def run(config: TuningTableConfig, folder: Path, *, resume: bool = False) -> TuningTable:
    """Run what is not finished yet, and compare every method and seed with the base model.

    Args:
        config: what to run.
        folder: for the finished pieces.
        resume: go on with what the folder holds.
    """
    partial = Partial(folder, dataclasses.asdict(config), resume=resume, plan={})
    tests = {
        spec: load_examples(spec, split="test", limit=config.n_test, seed=0)
        for spec in (config.fit, *config.others)
    }
    base = _evaluations(partial.piece("base", lambda: _measured(load_model(config.model), tests)))
    located = {
        s: partial.piece(f"located/{s}", lambda s=s: _located(config, s)) for s in config.seeds
    }
    rows: list[dict[str, Any]] = []
    answers: dict[str, list[dict[str, Evaluation]]] = {method: [] for method in config.methods}
    for method in config.methods:
        rate = partial.piece(f"rate/{method}", lambda m=method: _best_rate(config, m, located))
        for seed in config.seeds:
            say(f"tuning by {method}, seed {seed}, lr {rate['lr']:g}")
            made = partial.piece(
                f"tuned/{method}/{seed}",
                lambda m=method, s=seed, r=rate: _tuned(config, m, s, r["lr"], located[s], tests),
            )
            answers[method].append(_evaluations(made.pop("measured")))
            compared = transfer_rows(base, answers[method][-1], config.fit)
            rows += [{"method": method, "seed": seed, **made, **row} for row in compared]
    return TuningTable(rows, summary_rows(config.fit, base, answers))


def _tuned(
    config: TuningTableConfig,
    method: str,
    seed: int,
    lr: float,
    located: Sequence[Sequence[int]],
    tests: Mapping[str, Sequence[Example]],
) -> dict[str, Any]:
    model = load_model(config.model)
    found = _train(config, model, method, seed, lr, located)
    return found | {"lr": lr, "measured": _measured(model, tests)}


def _train(
    config: TuningTableConfig,
    model: LanguageModel,
    method: str,
    seed: int,
    lr: float,
    located: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Prepare and train; the model is changed."""
    examples = _examples(config, seed)
    neurons = NeuronSet.from_pairs(
        [(layer, neuron) for layer, neuron in located],
        model.n_layers,
        model.n_neurons,
        real=model.real,
        provenance={"fingerprint": model.fingerprint, "method": "dcsn"},
    )
    name, _, mode = method.partition(":")
    options = MethodOptions(
        neurons=neurons, seed=seed, rank=config.rank, without=mode or "freeze_located"
    )
    prepared = prepare(name, model, options)
    settings = TrainSettings(
        lr=lr,
        max_steps=config.steps,
        batch_size=config.batch_size,
        seed=seed,
        warmup_ratio=0.1,
        eval_every=config.steps,
    )
    held_out = training_rows(model, examples[config.n_train :])
    with TemporaryDirectory() as folder:
        result = train(
            model,
            prepared.trained,
            training_rows(model, examples[: config.n_train]),
            settings,
            Path(folder),
            eval_rows=held_out,
            callbacks=prepared.callbacks,
            extra_loss=prepared.extra_loss,
        )
    return {
        "neurons": len(neurons),
        "trained_parameters": prepared.trained_parameters,
        "seconds": result.seconds,
        "held_out_loss": result.history[-1]["eval_loss"],
        "note": prepared.note,
    }


def _best_rate(
    config: TuningTableConfig, method: str, located: Mapping[int, Sequence[Sequence[int]]]
) -> dict[str, Any]:
    rates = config.rates.get(method.partition(":")[0], config.rates["default"])
    tried, seed = {}, config.seeds[0]
    for lr in rates:
        say(f"learning rate of {method}: trying {lr:g}")
        try:
            found = _train(config, load_model(config.model), method, seed, lr, located[seed])
            tried[lr] = found["held_out_loss"]
        except RunError:  # the loss is no number any more: too fast
            tried[lr] = math.inf
    best = min(tried, key=lambda lr: tried[lr])
    return {"lr": best, "held_out_loss": {f"{lr:g}": loss for lr, loss in tried.items()}}


def _located(config: TuningTableConfig, seed: int) -> list[tuple[int, int]]:
    """The neurons of a seed's training examples, by the papers' rule."""
    examples = _examples(config, seed)[: config.n_located]
    scores = locate(load_model(config.model), examples, method="dcsn", target="first")
    return list(scores.select(sigma=config.sigma))


def _examples(config: TuningTableConfig, seed: int) -> list[Example]:
    return load_examples(config.fit, split="train", limit=config.n_train + HELD_OUT, seed=seed)


def _measured(
    model: LanguageModel, tests: Mapping[str, Sequence[Example]]
) -> dict[str, list[Mapping[str, Any]]]:
    return {spec: list(evaluate(model, examples).rows) for spec, examples in tests.items()}


def _evaluations(measured: Mapping[str, Any]) -> dict[str, Evaluation]:
    return {spec: Evaluation.from_rows(rows) for spec, rows in measured.items()}
