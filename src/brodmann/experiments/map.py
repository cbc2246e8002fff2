"""`run_map`: the whole story of a model's capabilities, from locating neurons to a verdict."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brodmann.environment import environment, peak_device_memory_bytes, peak_memory_bytes
from brodmann.evaluate.code import check_may_run
from brodmann.experiments.map_config import MapConfig, with_enough_draws
from brodmann.experiments.map_data import MapData, load_data
from brodmann.experiments.map_effects import effect_tables
from brodmann.experiments.map_erase import Measurer
from brodmann.experiments.map_jobs import STAGES, plan_jobs
from brodmann.experiments.map_locate import locate_variant
from brodmann.experiments.map_sets import MapSet, score_name, select_sets, set_rows
from brodmann.experiments.map_similarity import convergence_rows, similarity_rows
from brodmann.experiments.map_summary import summary
from brodmann.experiments.map_verdict import verdict
from brodmann.experiments.model_settings import model_settings
from brodmann.experiments.partial import Partial, say
from brodmann.models.batches import token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import tokenise_answers
from brodmann.neurons import NeuronScores
from brodmann.storage import check_new_folder, new_folder, plain, write_json, write_rows

_STAGES = ("locate", "compare", *STAGES)

Located = Mapping[str, Mapping[str, NeuronScores]]
Tables = dict[str, list[dict[str, Any]]]


def run_map(
    model: LanguageModel,
    config: MapConfig,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    finish: Callable[[Path], object] | None = None,
) -> Path:
    """Map a model's capabilities and write the result to a folder.

    The folder holds ``run.json``, ``scores/NAME`` and ``sets/NAME`` (accepted wherever a set is),
    ``results.json`` (every table) and one ``NAME.parquet`` for each table.

    Args:
        model: the model.
        config: what to measure; see :func:`brodmann.experiments.preset`.
        out: the folder to make. Finished work is kept in ``<out>.partial`` meanwhile.
        overwrite: replace a folder that brodmann made earlier.
        resume: go on with what ``<out>.partial`` holds.
        finish: called with the folder before it takes its name, such as
            :func:`brodmann.report.report_folder`.

    Returns:
        The folder.

    Raises:
        InputError: when the folder cannot be written, ``<out>.partial`` is of other work, the
            data cannot be used, or programs would have to run and may not.
    """
    out = Path(out)
    check_new_folder(out, overwrite)
    start = time.perf_counter()
    data = load_data(config)
    asked = [example for items in data.tests.values() for example in items]
    programs = [example for example in asked if example.meta.get("scorer") == "code"]
    check_may_run(programs, config.allow_code_execution)
    config = with_enough_draws(config, len(data.capabilities))
    batch_size = _batch_size(model, data, config)
    partial = Partial(
        out.with_name(out.name + ".partial"),
        _work(model, data, config),
        resume=resume,
        overwrite=overwrite,
        plan={"batch_size": batch_size},
    )
    batch_size = partial.plan["batch_size"]
    located = _located(model, data, config, partial)
    sets = select_sets(located, config)
    tables = _tables(model, data, config, located, sets, batch_size, partial)
    with new_folder(out, overwrite) as new:
        _write(new, located, sets, tables)
        about = _about(model, data, config, batch_size)
        about["wall_seconds"] = _times(partial, start)
        about["memory"] = {"host": peak_memory_bytes(), "device": peak_device_memory_bytes()}
        write_json(new / "run.json", about)
        if finish is not None:
            finish(new)
    partial.discard()
    return out


def _located(model: LanguageModel, data: MapData, config: MapConfig, partial: Partial) -> Located:
    located = {}
    for variant in data.variants:
        count = sum(len(half) for halves in variant.halves.values() for half in halves)
        say(f"Locating ({config.method}) on {variant.name}: {count} examples")
        checkpoint = partial.folder / f"locate-{variant.name}.safetensors"
        with partial.timed(f"locate/{variant.name}"):
            located[variant.name] = locate_variant(model, variant, config, checkpoint)
    return located


def _tables(
    model: LanguageModel,
    data: MapData,
    config: MapConfig,
    located: Located,
    sets: list[MapSet],
    batch_size: int,
    partial: Partial,
) -> Tables:
    """Measure, and make every table of the map, the verdict last."""
    say("Comparing sets")
    compared = partial.piece(
        "compare/similarity", lambda: list(similarity_rows(sets, located, config))
    )
    settled = partial.piece("compare/convergence", lambda: convergence_rows(sets, config))
    total = sum(parameter.numel() for parameter in model.hf.parameters())
    tables: Tables = {
        "data": data.rows(),
        "tests": [dict(row) for row in data.test_rows],
        "sets": set_rows(sets, [site.parameters_per_neuron for site in model.sites], total),
        "similarity": compared[0],
        "specificity": compared[1],
        "convergence": settled,
    }
    measurer = Measurer(
        model, data.tests, data.neutral, batch_size, partial, config.allow_code_execution
    )
    wanted = [one for one in sets if one.variant in config.erased_answers]
    jobs = plan_jobs(wanted, data.capabilities, config, measurer.magnitudes)
    tables |= effect_tables(measurer.run(jobs), config)
    tables["verdict"] = verdict(tables, config.thresholds)
    sentences = summary(tables["verdict"], tables["base"], preset=config.preset)
    tables["summary"] = [{"sentence": sentence} for sentence in sentences]
    return tables


def _write(folder: Path, located: Located, sets: list[MapSet], tables: Tables) -> None:
    for variant, scores in located.items():
        for capability, found in scores.items():
            place = folder / "scores" / score_name(capability, variant, list(scores))
            place.mkdir(parents=True)
            found.write_into(place)
    for one in sets:
        place = folder / "sets" / one.name
        place.mkdir(parents=True)
        one.neurons.write_into(place)
    for name, rows in tables.items():
        if rows:
            write_rows(folder / f"{name}.parquet", rows)
    # The answers themselves are many; everything else is small.
    write_json(folder / "results.json", {k: v for k, v in tables.items() if k != "items"})


def _about(
    model: LanguageModel, data: MapData, config: MapConfig, batch_size: int
) -> dict[str, Any]:
    return {
        "experiment": "map",
        **model_settings(model),
        "config": asdict(config),
        "seed": config.seed,
        "data": {variant.name: dict(variant.specs) for variant in data.variants},
        "batch_size": batch_size,
        "environment": environment(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _times(partial: Partial, start: float) -> dict[str, float]:
    """Seconds of each stage, earlier runs of the same work included, and of this run in all."""
    spent = partial.seconds()
    times = {stage: round(spent[stage], 2) for stage in _STAGES if stage in spent}
    return times | {"this_run": round(time.perf_counter() - start, 2)}


def _work(model: LanguageModel, data: MapData, config: MapConfig) -> dict[str, Any]:
    """Everything that decides the bits of the result."""
    examples = [
        [e.prompt, e.delimiter, e.answer, list(e.choices)]
        for variant in data.variants
        for halves in variant.halves.values()
        for half in halves
        for e in half
    ] + [[e.prompt, e.delimiter, e.answer, list(e.choices)] for t in data.tests.values() for e in t]
    return plain(asdict(config)) | {
        "model": model.fingerprint,
        "dtype": str(model.dtype),
        "device": model.device.type,
        "neutral": hashlib.sha256(json.dumps(list(data.neutral)).encode()).hexdigest(),
        "examples": hashlib.sha256(json.dumps(examples).encode()).hexdigest(),
    }


def _batch_size(model: LanguageModel, data: MapData, config: MapConfig) -> int:
    """Sequences in a batch: one number for all of the run, kept when it is resumed.

    The budget of tokens over the longest sequence; on a GPU it depends on what memory is free.
    """
    if config.batch_size != "auto":
        return config.batch_size
    examples = [e for v in data.variants for h in v.halves.values() for half in h for e in half]
    examples += [e for items in data.tests.values() for e in items]
    texts = [(e.prompt, e.delimiter, e.answer) for e in examples]
    longest = max(len(answer.ids) for answer in tokenise_answers(model, texts))
    return max(1, token_budget(model.hf) // longest)
