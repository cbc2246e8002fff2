"""The work behind `brodmann tune`: sets, model, training, measurements, folder."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.experiments.partial import Partial
    from brodmann.experiments.tune import TuneConfig, Tuned
    from brodmann.neurons import NeuronSet


@dataclass(frozen=True)
class Request:
    """What was asked on the command line; ``settings`` are those of the training."""

    model: str
    device: str | None
    dtype: str | None
    data: str
    others: tuple[str, ...]
    neurons: tuple[str, ...]
    method: str
    limit: int | None
    held_out: int | None
    test_items: int
    end_of_text: bool
    chat_template: Literal["off", "auto"]
    without: str | None
    rank: int | None
    after: tuple[Path, ...]
    biases: bool | None
    export: tuple[str, ...]
    allow_code_execution: bool
    force: bool
    settings: dict[str, Any]


def run(request: Request, out: Path, *, resume: bool, overwrite: bool, as_json: bool) -> None:
    """Tune, write the folder and print.

    Raises:
        InputError: options that do not go together; see the library's functions for the rest.
    """
    from brodmann.tuning.on_import import check_peft

    check_peft()
    from brodmann.cli.opening import open_model
    from brodmann.cli.processes import join
    from brodmann.cli.run_record import RunRecord
    from brodmann.experiments.tune import run_tune, write_tuned
    from brodmann.experiments.tune_method import MethodOptions
    from brodmann.storage import check_new_folder, new_folder

    _check(request)
    config = _config(request)
    check_new_folder(out, overwrite)
    neurons = _united(request)
    record = RunRecord("tune", **dataclasses.asdict(config), **_named(request))
    first = join(request.device)
    partial = _partial(request, config, neurons, out, resume=resume, overwrite=overwrite)
    options = MethodOptions(
        neurons=neurons, seed=config.settings.seed, earlier=request.after, force=request.force,
        **_known({"without": request.without, "rank": request.rank, "train_bias": request.biases}),
    )  # fmt: skip
    tuned = run_tune(
        lambda: open_model(request.model, request.device, request.dtype), config, options, partial
    )
    if tuned is None or not first:
        return
    with new_folder(out, overwrite) as folder:
        rank = write_tuned(tuned, config, folder)
        if (logs := partial.folder / "training" / "runs").is_dir():  # of --report-to tensorboard
            shutil.copytree(logs, folder / "runs")
        facts = _facts(request, tuned) | {"lora_rank": rank}
        record.write(folder, tuned.model, **facts)
    partial.discard()
    _print(tuned, facts | {"out": out}, as_json=as_json)


def _config(request: Request) -> "TuneConfig":
    from brodmann.experiments.tune import TuneConfig
    from brodmann.experiments.tune_method import KEEPS_CHECKPOINT
    from brodmann.tuning.train_settings import TrainSettings

    given = dict(request.settings)
    if given["lr"] is None:
        given["lr"] = 1e-5 if request.method in KEEPS_CHECKPOINT else 1e-3
    held_out = request.held_out or 0
    if not held_out and (given["eval_every"] or given["patience"]):
        raise InputError(
            "Expected --held-out N with --eval-every and --patience: examples that are not trained "
            "on. Write --held-out 32, say."
        )
    return TuneConfig(
        method=request.method, data=request.data, others=request.others, limit=request.limit,
        held_out=held_out, test_items=request.test_items, end_of_text=request.end_of_text,
        chat_template=request.chat_template, exports=request.export,
        allow_code_execution=request.allow_code_execution, settings=TrainSettings(**given),
    )  # fmt: skip


def _check(request: Request) -> None:
    from brodmann.experiments.training import WITHOUT_SET
    from brodmann.experiments.tune_method import NEURON_METHODS, TUNING_METHODS

    method = request.method
    TUNING_METHODS.get(method)
    if not request.neurons and method not in WITHOUT_SET:
        raise InputError(
            f"Expected --neurons SET for method {method}, a folder of 'brodmann locate'; got none."
        )
    for option, given, methods in (
        ("--neurons", request.neurons, tuple(set(TUNING_METHODS.names()) - set(WITHOUT_SET))),
        ("--after", request.after, ("olora",)),
        ("--without", request.without, ("without",)),
        ("--rank", request.rank, ("lora", "olora")),
        ("--biases", request.biases is not None, NEURON_METHODS),
    ):
        if given and method not in methods:
            raise InputError(
                f"Expected {option} with method {' or '.join(sorted(methods))} only; got it with "
                f"{method}. Leave it out."
            )


def _united(request: Request) -> "NeuronSet | None":
    from functools import reduce
    from operator import or_

    from brodmann.neurons import NeuronSet

    names = [name for given in request.neurons for name in given.split(",") if name]
    sets = [NeuronSet.load(name) for name in names]
    return reduce(or_, sets) if sets else None


def _known(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _named(request: Request) -> dict[str, Any]:
    return {
        "neurons": list(request.neurons),
        "without": request.without,
        "rank": request.rank,
        "after": [str(folder) for folder in request.after],
        "biases": request.biases,
        "dtype": request.dtype,
    }


def _partial(
    request: Request,
    config: "TuneConfig",
    neurons: "NeuronSet | None",
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
) -> "Partial":
    """Where finished work is kept; the first of several processes makes it, the others wait."""
    from brodmann.experiments.partial import Partial
    from brodmann.launch import process_count, process_number

    target = out.resolve()
    folder = target.with_name(f".{target.name}.unfinished")
    work = dataclasses.asdict(config) | _named(request) | {"model": request.model}
    work["settings"] = config.settings.work()
    del work["allow_code_execution"]  # what was measured with leave is as good without it
    work["set"] = None if neurons is None else list(neurons)
    made = None
    if process_number() == 0:
        made = Partial(folder, work, resume=resume, overwrite=overwrite, plan={})
    if process_count() > 1:
        from brodmann.localize.processes import wait_for_all

        wait_for_all()
    return made or Partial(folder, work, resume=True, plan={})


def _facts(request: Request, tuned: "Tuned") -> dict[str, Any]:
    last = tuned.result.history[-1] if tuned.result.history else {}
    return {
        "method": request.method,
        "trained_parameters": tuned.prepared.trained_parameters,
        "share_of_parameters": tuned.prepared.trained_parameters / tuned.total_parameters,
        "steps": tuned.result.steps,
        "best_step": tuned.result.best_step,
        "training_seconds": tuned.result.seconds,
        "loss": last.get("loss"),
        "note": tuned.prepared.note,
        "transfer": tuned.transfer,
    }


def _print(tuned: "Tuned", facts: dict[str, Any], *, as_json: bool) -> None:
    from brodmann.cli.output import note, percent, print_json, print_text
    from brodmann.cli.transfer import print_transfer

    if as_json:
        print_json(facts)
        return
    print_text(
        f"{facts['trained_parameters']:,} parameters trained, "
        f"{percent(facts['share_of_parameters'])} of the model's; {facts['steps']} steps, "
        f"{facts['training_seconds']:.0f} s, last loss {facts['loss']:.4g}"
    )
    if facts["note"]:
        print_text(f"note: {facts['note']}")
    if facts["lora_rank"]:
        print_text(
            f"the LoRA form has rank {facts['lora_rank']}: allow that much where it is served"
        )
    print_transfer(tuned.transfer)
    note(f"wrote {facts['out']}")
