"""`brodmann locate --method circuit`: the circuit that answers each fact."""

import shutil
import time
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brodmann.cli import locating_facts
from brodmann.cli.locate_request import Request, print_located
from brodmann.cli.unfinished import unfinished
from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.data import Fact
    from brodmann.localize.circuits import Circuit
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronSet

OPTIONS = ("top_edges", "steps", "exact", "tau", "ablation")
ONE_IN = 100
"""By default a circuit holds one in so many edges."""

_PROJECTION = (
    "all neurons of the MLPs in any of the facts' circuits: our own projection, which no paper "
    "makes"
)


def run(request: Request) -> None:
    """Find one circuit per fact, test what it recalls, write the folder and print.

    Raises:
        InputError: options that do not go together; see the library's functions for the rest.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.run_record import RunRecord
    from brodmann.evaluate.circuit_recall import circuit_recall
    from brodmann.models.components import components_of
    from brodmann.storage import check_new_folder, new_folder, write_json

    request.check([*OPTIONS, *locating_facts.OPTIONS], resume=True)
    if "tau" in request.settings and not request.settings.get("exact"):
        raise InputError("Expected --tau with --exact, which removes edges one by one; got --tau.")
    check_new_folder(request.out, request.overwrite)
    asked = {"facts": request.one_data(), "limit": request.limit, "seed": request.seed}
    record = RunRecord("locate", method="circuit", data=asked, **request.settings)
    facts = locating_facts.read(request)
    opened = open_model(request.model, request.device, request.dtype)
    n_edges = components_of(opened).graph.n_edges
    top = int(request.settings.get("top_edges", max(1, n_edges // ONE_IN)))
    if not 1 <= top <= n_edges:
        raise InputError(f"Expected --top-edges from 1 to {n_edges:,}; got {top:,}.")
    used, rows = locating_facts.known(request, opened, facts)
    started = time.perf_counter()
    work = locating_facts.work_of(request, opened, used)
    with unfinished(request.out, work, request.resume, request.overwrite) as place:
        removed = _removed(request, opened, used)
        circuits = [
            _circuit(request, opened, fact, place / f"{number:04d}", top, removed)
            for number, fact in enumerate(used, start=1)
        ]
        recalls = [
            {"fact": fact.id, **circuit_recall(opened, fact, circuit, **removed).row()}
            for fact, circuit in zip(used, circuits, strict=True)
        ]
        seconds = time.perf_counter() - started
        neurons = _projected(opened, circuits, asked)
        with new_folder(request.out, request.overwrite) as folder:
            _write(folder, place, recalls)
            neurons.write_into(folder)
            write_json(folder / "facts.json", rows)
            record.write(
                folder, opened, rule=neurons.provenance["rule"], neurons=len(neurons),
                samples=len(circuits), edges_of_the_model=n_edges, top_edges=top,
                known=sum(row["known"] for row in rows), seconds=seconds,
            )  # fmt: skip
    _print(request, opened, neurons, recalls, rows)


def _circuit(
    request: Request,
    model: "LanguageModel",
    fact: "Fact",
    kept: Path,
    top: int,
    removed: dict[str, Any],
) -> "Circuit":
    """The circuit of one fact, as the unfinished folder has it or found now."""
    from brodmann.localize.acdc import acdc
    from brodmann.localize.circuits import Circuit
    from brodmann.localize.edge_attribution import eap_ig
    from brodmann.report.figure_circuit import draw_circuit
    from brodmann.storage import new_folder, write_tensors

    if kept.exists():
        return Circuit.load(kept, model)
    steps = {"steps": request.settings["steps"]} if "steps" in request.settings else {}
    scores = eap_ig(model, fact, **removed, **steps)
    circuit = scores.top(top)
    if request.settings.get("exact"):
        tau = {"tau": request.settings["tau"]} if "tau" in request.settings else {}
        circuit = acdc(model, fact, candidates=circuit, **removed, **tau)
    with new_folder(kept) as folder:
        circuit.write_into(folder)
        write_tensors(folder / "edge_scores.safetensors", {"values": scores.values}, {})
        title = f"{fact.prompt}{fact.delimiter}{fact.answer}"
        draw_circuit(circuit, folder / "circuit.png", scores=scores, title=title)
    return circuit


def _removed(request: Request, model: "LanguageModel", facts: "list[Fact]") -> dict[str, Any]:
    """What stands in a removed edge's place: nothing, or the mean over all the facts."""
    from brodmann.localize.sender_means import sender_means

    ablation = request.settings.get("ablation", "zero")
    means = sender_means(model, facts) if ablation == "mean" else None
    return {"ablation": ablation, "reference": means}


def _projected(
    model: "LanguageModel", circuits: "list[Circuit]", asked: dict[str, Any]
) -> "NeuronSet":
    from brodmann.neurons import NeuronSet

    parts = [circuit.neurons(model) for circuit in circuits]
    mask = reduce(or_, (part.mask for part in parts))
    rule = {"projection": _PROJECTION, "of": dict(circuits[0].provenance).get("rule")}
    provenance = {
        "model": model.name, "fingerprint": model.fingerprint, "method": "circuit",
        "options": circuits[0].provenance["options"], "rule": rule, "data": asked,
        "facts": len(circuits),
    }  # fmt: skip
    return NeuronSet.from_mask(mask, model.real, provenance)


def _write(folder: Path, place: Path, recalls: list[dict[str, Any]]) -> None:
    """The circuits with their pictures, and what each recalls."""
    from brodmann.storage import write_json

    for number, row in enumerate(recalls, start=1):
        row["folder"] = f"circuits/{number:04d}"
        shutil.copytree(place / f"{number:04d}", folder / row["folder"])
    write_json(folder / "circuits.json", recalls)


def _print(
    request: Request,
    model: "LanguageModel",
    neurons: "NeuronSet",
    recalls: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> None:
    n = len(recalls)
    first = sum(row["rank"] == 1 for row in recalls)
    recalled = sum(row["recalled"] for row in recalls)
    edges = sum(row["n_edges"] for row in recalls) / n
    lines = [
        locating_facts.told_of_facts(rows, n),
        f"circuits of {edges:,.0f} edges on average; alone, {first} of {n} give the answer first, "
        f"{recalled} among the first ten",
    ]
    told = {"facts": n, "edges": edges, "rank_1": first, "recalled": recalled, "circuits": recalls}
    print_located(model, neurons, request, told, lines=lines)
