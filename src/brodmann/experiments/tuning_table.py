"""dcsn.txt Table 6: tune on one capability, measure it and others, against every baseline.

One row for each method, seed and data spec; nothing is plotted here. Finished runs are kept, so
that an interrupted table goes on where it was.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brodmann.evaluate import Evaluation
from brodmann.evaluate.transfer import transfer_rows
from brodmann.experiments.learning_rate import best_rate
from brodmann.experiments.partial import Partial
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import Training
from brodmann.experiments.tuning_summary import summary_rows
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

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
        seeds: of the order of the training examples, the random neurons, and where LoRA begins.
            The examples themselves are the same: another split would train on test expressions.
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
    Partial(folder, dataclasses.asdict(config), resume=resume, plan={})  # refuses other work
    bench = Workbench(config.model, folder / "measured")
    tests = [Sample(spec, "test", config.n_test) for spec in (config.fit, *config.others)]
    base = {test.spec: bench.answers(test) for test in tests}
    located = bench.scores(Sample(config.fit, "train", config.n_located), target="first").select(
        sigma=config.sigma
    )
    rows: list[dict[str, Any]] = []
    answers: dict[str, list[dict[str, Evaluation]]] = {method: [] for method in config.methods}
    for method in config.methods:
        first = _training(config, method, config.seeds[0], located)
        rates = config.rates.get(method.partition(":")[0], config.rates["default"])
        lr, _ = best_rate(bench, first, rates)
        for seed in config.seeds:
            training = dataclasses.replace(first, seed=seed, lr=lr)
            told, measured = bench.tuned(training, tests)
            answers[method].append({test.spec: found for test, found in measured.items()})
            compared = transfer_rows(base, answers[method][-1], config.fit)
            about = {"method": method, "seed": seed, "lr": lr}
            rows += [{**about, **told, **row} for row in compared]
    return TuningTable(rows, summary_rows(config.fit, base, answers))


def _training(config: TuningTableConfig, method: str, seed: int, located: NeuronSet) -> Training:
    return Training(
        method=method,
        sample=Sample(config.fit, "train", config.n_train + HELD_OUT),
        neurons=located,
        lr=config.rates["default"][0],
        steps=config.steps,
        batch_size=config.batch_size,
        seed=seed,
        rank=config.rank,
        held_out=HELD_OUT,
        end_of_text=True,
    )
