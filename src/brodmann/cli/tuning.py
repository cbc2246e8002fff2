"""The work behind `brodmann tune`: sets, model, training, measurements, folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.experiments.partial import Partial
    from brodmann.experiments.tune import TuneConfig, Tuned
    from brodmann.neurons import NeuronSet

EXPORTS = ("merged", "lora")


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
    without: str
    rank: int
    after: tuple[Path, ...]
    biases: bool
    export: tuple[str, ...]
    force: bool
    settings: dict[str, Any]


def run(request: Request, out: Path, *, resume: bool, overwrite: bool, as_json: bool) -> None:
    """Tune, write the folder and print.

    Raises:
        InputError: options that do not go together; see the library's functions for the rest.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.processes import join
    from brodmann.cli.run_record import RunRecord
    from brodmann.experiments.tune import run_tune, write_tuned
    from brodmann.experiments.tune_method import MethodOptions
    from brodmann.storage import check_new_folder, new_folder

    config = _config(request)
    _check(request)
    check_new_folder(out, overwrite)
    sets = _sets(request)
    record = RunRecord("tune", **dataclasses.asdict(config), **_named(request))
    first = join(request.device)
    partial = _partial(request, config, out, resume=resume, overwrite=overwrite, first=first)
    options = MethodOptions(
        neurons=_united(sets), seed=config.settings.seed, without=request.without,
        rank=request.rank, earlier=request.after, train_bias=request.biases, force=request.force,
    )  # fmt: skip
    tuned = run_tune(
        lambda: open_model(request.model, request.device, request.dtype), config, options, partial
    )
    if tuned is None:
        return
    with new_folder(out, overwrite) as folder:
        write_tuned(tuned, config, folder)
        ranks = _export(request, tuned, folder)
        facts = _facts(request, tuned)
        if request.method in ("neurons", "random", "neft"):
            _write_card(config, tuned, sets, folder)
        record.write(folder, tuned.model, **facts, lora_rank=ranks)
    partial.discard()
    _print(tuned, facts | {"out": out, "lora_rank": ranks}, as_json=as_json)


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
        chat_template=request.chat_template, settings=TrainSettings(**given),
    )  # fmt: skip


def _check(request: Request) -> None:
    from brodmann.experiments.tune_method import (
        KEEPS_CHECKPOINT,
        TUNING_METHODS,
        WITHOUT_SET,
    )

    TUNING_METHODS.get(request.method)
    if not request.neurons and request.method not in WITHOUT_SET:
        raise InputError(
            f"Expected --neurons SET for method {request.method}, a folder of 'brodmann locate'; "
            "got none."
        )
    if request.neurons and request.method in WITHOUT_SET:
        raise InputError(
            f"Expected no --neurons for method {request.method}, which does not look at a set. "
            "Leave it out."
        )
    if request.after and request.method != "olora":
        raise InputError("Expected --after with method olora only. Leave it out.")
    for form in request.export:
        if form not in EXPORTS:
            raise InputError(f"Expected --export out of {', '.join(EXPORTS)}; got '{form}'.")
    if request.export and (request.method in KEEPS_CHECKPOINT or request.method not in NEURONS):
        raise InputError(
            f"Expected --export with tuned neurons; method {request.method} has no other form than "
            "what it writes. Leave it out."
        )


NEURONS = ("neurons", "random", "neft")
"""Methods whose adapter is ours."""


def _sets(request: Request) -> "list[NeuronSet]":
    from brodmann.neurons import NeuronSet

    names = [name for given in request.neurons for name in given.split(",") if name]
    return [NeuronSet.load(name) for name in names]


def _united(sets: "list[NeuronSet]") -> "NeuronSet | None":
    from functools import reduce
    from operator import or_

    return reduce(or_, sets) if sets else None


def _named(request: Request) -> dict[str, Any]:
    return {
        "neurons": list(request.neurons),
        "without": request.without if request.method == "without" else None,
        "rank": request.rank if request.method in ("lora", "olora") else None,
        "after": [str(folder) for folder in request.after],
        "biases": request.biases,
    }


def _partial(
    request: Request,
    config: "TuneConfig",
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    first: bool,
) -> "Partial":
    """Where finished work is kept; the first of several processes makes it, the others wait."""
    from brodmann.experiments.partial import Partial
    from brodmann.launch import process_count

    target = out.resolve()
    folder = target.with_name(f".{target.name}.unfinished")
    work = dataclasses.asdict(config) | _named(request) | {"model": request.model}
    work["settings"] = config.settings.work()
    made = None
    if first:
        made = Partial(folder, work, resume=resume, overwrite=overwrite, plan={})
    if process_count() > 1:
        from brodmann.localize.processes import wait_for_all

        wait_for_all()
    return made or Partial(folder, work, resume=True, plan={})


def _export(request: Request, tuned: "Tuned", folder: Path) -> int | None:
    from brodmann.tuning import export_lora, export_merged

    trained: Any = tuned.prepared.trained
    if "merged" in request.export:
        export_merged(tuned.model, trained, folder / "merged")
    return export_lora(tuned.model, trained, folder / "lora") if "lora" in request.export else None


def _facts(request: Request, tuned: "Tuned") -> dict[str, Any]:
    total = _parameters_of_model(tuned)
    last = tuned.result.history[-1] if tuned.result.history else {}
    return {
        "method": request.method,
        "trained_parameters": tuned.prepared.trained_parameters,
        "share_of_parameters": tuned.prepared.trained_parameters / total,
        "steps": tuned.result.steps,
        "best_step": tuned.result.best_step,
        "training_seconds": tuned.result.seconds,
        "loss": last.get("loss"),
        "note": tuned.prepared.note,
        "transfer": tuned.transfer,
    }


def _write_card(
    config: "TuneConfig", tuned: "Tuned", sets: "list[NeuronSet]", folder: Path
) -> None:
    from brodmann.tuning.card import AdapterFacts, write_card

    trained: Any = tuned.prepared.trained
    neurons = trained.peft_config["default"].neurons
    counts = [len(neurons.get(str(layer), ())) for layer in range(tuned.model.n_layers)]
    located = [one.provenance for one in sets]
    settings = {"method": config.method, **config.settings.work()}
    facts = AdapterFacts(
        base=tuned.model.name,
        fingerprint=tuned.model.fingerprint,
        counts=counts,
        n_neurons=tuned.model.n_neurons_total,
        parameters=tuned.prepared.trained_parameters,
        total_parameters=_parameters_of_model(tuned),
        located=located,
        data=[config.data],
        settings=settings,
        evaluations=[
            {"data": row["data"], "before": _side(row, "base"), "after": _side(row, "tuned")}
            for row in tuned.transfer
        ],
        quantisation=tuned.model.quantisation,
    )
    write_card(folder, facts)


def _parameters_of_model(tuned: "Tuned") -> int:
    """Without those that an adapter adds."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    hf = tuned.model.hf
    own = {
        id(p)
        for layer in hf.modules()
        if isinstance(layer, BaseTunerLayer)
        for part in layer.adapter_layer_names
        for p in getattr(layer, part).parameters()
    }
    return sum(p.numel() for p in hf.parameters() if id(p) not in own)


def _side(row: dict[str, Any], name: str) -> dict[str, Any]:
    interval = (row[f"{name}_low"], row[f"{name}_high"])
    return {"accuracy": row[name], "interval": interval, "n": row["n"]}


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
