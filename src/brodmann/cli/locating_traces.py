"""`brodmann locate --method tracing`: where single facts are restored from."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brodmann.cli import locating_facts
from brodmann.cli.locate_request import Request, print_located
from brodmann.cli.unfinished import unfinished
from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.evaluate.traces import AveragedTraces
    from brodmann.localize.trace import Trace
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronSet

OPTIONS = ("draws", "noise", "window", "target", "layers", "batch_size")
TOP_LAYERS = 3
"""As the paper takes for its fidelity (cnl.txt, §3.1)."""

_PROJECTION = (
    "all neurons of the layers whose MLP outputs restore most at the subject's last token, mean "
    "over facts: our own projection, which no paper makes"
)


def run(request: Request) -> None:
    """Trace facts, average, project onto neurons, write the folder and print.

    Raises:
        InputError: options that do not go together; see the library's functions for the rest.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.run_record import RunRecord
    from brodmann.evaluate.traces import average_traces
    from brodmann.storage import check_new_folder, new_folder, write_json

    request.check([*OPTIONS, *locating_facts.OPTIONS], resume=True)
    check_new_folder(request.out, request.overwrite)
    asked = {"facts": request.one_data(), "limit": request.limit, "seed": request.seed}
    record = RunRecord("locate", method="tracing", data=asked, **request.settings)
    facts = locating_facts.read(request)
    opened = open_model(request.model, request.device, request.dtype)
    count = _layers(request, opened)
    used, rows = locating_facts.known(request, opened, facts)
    started = time.perf_counter()
    work = locating_facts.work_of(request, opened, used)
    with unfinished(request.out, work, request.resume, request.overwrite) as place:
        found = _traced(request, opened, used, place)
        seconds = time.perf_counter() - started
        averaged = average_traces(found, seed=request.seed)
        neurons = _projected(opened, averaged, count, asked)
        with new_folder(request.out, request.overwrite) as folder:
            _write(folder, found, averaged, count)
            neurons.write_into(folder)
            write_json(folder / "facts.json", rows)
            record.write(
                folder, opened, tracing=found[0].provenance["rule"],
                rule=neurons.provenance["rule"], neurons=len(neurons), samples=len(found),
                known=sum(row["known"] for row in rows), seconds=seconds,
            )  # fmt: skip
    layers = neurons.provenance["rule"]["layers"]
    lines = [
        locating_facts.told_of_facts(rows, len(used)),
        f"P(answer): {averaged.clean:.3g} clean, {averaged.corrupted:.3g} with noise; strongest "
        f"at the subject's last token: layers {', '.join(map(str, layers))}",
    ]
    told = {"facts": len(found), "layers": layers, "clean": averaged.clean}
    told |= {"corrupted": averaged.corrupted}
    print_located(opened, neurons, request, told, lines=lines)


def _layers(request: Request, model: "LanguageModel") -> int:
    count = int(request.settings.get("layers", min(TOP_LAYERS, model.n_layers)))
    if not 1 <= count <= model.n_layers:
        raise InputError(f"Expected --layers from 1 to {model.n_layers}; got {count}.")
    return count


def _traced(
    request: Request, model: "LanguageModel", facts: list[Any], place: Path
) -> "list[Trace]":
    """One trace per fact, in their order; those that stand in the unfinished folder are read."""
    from brodmann.localize.causal_tracing import traces
    from brodmann.localize.trace import read_traces, write_trace

    settings = {
        name: value
        for name, value in request.settings.items()
        if name in OPTIONS and name != "layers"
    }
    kept = list(place.glob("*.trace.safetensors"))
    done = {trace.fact for trace in read_traces(place)} if kept else set()
    for trace in traces(model, facts, done=done, seed=request.seed, **settings):
        write_trace(place, trace)
    by_fact = {trace.fact: trace for trace in read_traces(place)}
    return [by_fact[fact.id] for fact in facts]


def _projected(
    model: "LanguageModel", averaged: "AveragedTraces", count: int, asked: dict[str, Any]
) -> "NeuronSet":
    from brodmann.evaluate.traces import ROLES
    from brodmann.localize.trace import layers_as_neurons
    from brodmann.neurons import NeuronSet

    effects = averaged.effects["mlp"].mean[ROLES.index("last subject token")]
    layers = effects.argsort(descending=True, stable=True)[:count].tolist()
    found = layers_as_neurons(model, layers)
    rule = {"projection": _PROJECTION, "layers": layers}
    provenance = found.provenance | {"rule": rule, "data": asked, "facts": averaged.n_facts}
    return NeuronSet.from_mask(found.mask, found.real, provenance)


def _write(folder: Path, found: "list[Trace]", averaged: "AveragedTraces", count: int) -> None:
    """Traces, a row for each, the averaged grid, and its heat map."""
    from brodmann.localize.trace import top_layers, write_trace
    from brodmann.report.figure_tracing import draw_averaged, draw_trace
    from brodmann.storage import write_json, write_rows

    (folder / "traces").mkdir()
    for trace in found:
        write_trace(folder / "traces", trace)
    rows = [
        {
            "fact": trace.fact, "answer": trace.answer, "clean": trace.clean,
            "corrupted": trace.corrupted, "top_layers": list(top_layers(trace, count)),
        }
        for trace in found
    ]  # fmt: skip
    write_json(folder / "traces.json", rows)
    write_rows(folder / "averaged.parquet", averaged.rows())
    if len(found) == 1:
        shows = draw_trace(found[0], folder / "tracing.png", svg=True)
    else:
        window = found[0].provenance["rule"]["window"]
        shows = draw_averaged(averaged, folder / "tracing.png", window=window, svg=True)
    (folder / "tracing.txt").write_text(f"{shows}\n", encoding="utf-8")
