"""`brodmann locate`: score every neuron on a capability, select a set, write both to a folder."""

import dataclasses
import shutil
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from brodmann.cli import options

if TYPE_CHECKING:
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronScores, NeuronSet

STRONGEST_SHOWN = 10


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("locate")(locate_command)


def locate_command(
    model: options.Model,
    data: options.Data,
    out: options.Out,
    split: options.Split = "train",
    limit: options.Limit = None,
    method: Annotated[str, typer.Option("--method", help="How neurons are scored.")] = "dcsn",
    sigma: Annotated[
        float, typer.Option("--sigma", min=0.0, help="Keep what is so many dispersions off.")
    ] = 6.0,
    dispersion: Annotated[
        Literal["std", "var", "mad"], typer.Option("--dispersion", help="Of the scores.")
    ] = "std",
    scope: Annotated[
        Literal["global", "layer"], typer.Option("--scope", help="Where the rule takes its mean.")
    ] = "global",
    sign: Annotated[
        Literal["both", "positive", "negative"], typer.Option("--sign", help="Which side to keep.")
    ] = "both",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Keep the K strongest instead of --sigma.")
    ] = None,
    site: Annotated[
        Literal["down_in", "act"], typer.Option("--site", help="Where a neuron is read.")
    ] = "down_in",
    target: Annotated[
        Literal["first", "mean"], typer.Option("--target", help="Which answer tokens.")
    ] = "first",
    fold_norm: Annotated[
        bool, typer.Option("--fold-norm/--no-fold-norm", help="Read through the final norm.")
    ] = True,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Score every neuron on a capability, select a set, and write both to a folder.

    The folder holds scores.safetensors, set.safetensors, set.json and run.json, and is accepted
    wherever a SET is.
    """
    from brodmann.cli.opening import checkpoint_file, open_model, parse_batch_size
    from brodmann.cli.run_record import RunRecord
    from brodmann.data import canonical_spec, load_examples
    from brodmann.errors import InputError
    from brodmann.localize import METHODS, locate
    from brodmann.storage import check_new_folder, new_folder

    settings: dict[str, Any] = {"batch_size": parse_batch_size(batch_size), "site": site}
    settings |= {"target": target, "fold_norm": fold_norm}
    METHODS.get(method)
    if top is None and sigma <= 0:
        raise InputError(f"Expected --sigma above 0; got {sigma:g}.")
    check_new_folder(out, overwrite)
    asked = {"spec": str(canonical_spec(data)), "split": split, "limit": limit, "seed": seed}
    record = RunRecord("locate", method=method, data=asked, **settings)
    examples = load_examples(data, split=split, limit=limit, seed=seed)
    opened = open_model(model, device, dtype)
    if top is not None and top > opened.n_neurons_total:
        raise InputError(
            f"Expected --top up to {opened.n_neurons_total}, the model's neurons; got {top}."
        )
    checkpoint = checkpoint_file(out, resume=resume, overwrite=overwrite)
    scores = locate(opened, examples, method, checkpoint=checkpoint, **settings)
    scores = dataclasses.replace(scores, provenance={**scores.provenance, "data": asked})
    if top:
        neurons = scores.top(k=top, sign=sign)
    else:
        neurons = scores.select(sigma, dispersion=dispersion, scope=scope, sign=sign)
    with new_folder(out, overwrite) as folder:
        scores.write_into(folder)
        neurons.write_into(folder)
        record.write(
            folder, opened, scores=scores.provenance, rule=neurons.provenance["rule"],
            neurons=len(neurons), samples=scores.n_samples,
        )  # fmt: skip
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    _print(opened, scores, neurons, str(out), as_json=as_json)


def _print(
    model: "LanguageModel",
    scores: "NeuronScores",
    neurons: "NeuronSet",
    out: str,
    *,
    as_json: bool,
) -> None:
    from brodmann.cli.output import note, percent, print_json, print_table, print_text

    own = [site.parameters_per_neuron for site in model.sites]
    of_parameters = neurons.parameter_share(own, model.hf.num_parameters())
    found = sorted(neurons, key=lambda pair: -abs(scores.values[pair].item()))
    strongest = [
        {
            "layer": layer,
            "neuron": neuron,
            "score": scores.values[layer, neuron].item(),
            "standard_error": scores.standard_error[layer, neuron].item(),
        }
        for layer, neuron in found[:STRONGEST_SHOWN]
    ]
    summary = {
        "out": out,
        "samples": scores.n_samples,
        "neurons": len(neurons),
        "share_of_neurons": neurons.share,
        "share_of_parameters": of_parameters,
        "counts": neurons.counts.tolist(),
        "strongest": strongest,
    }
    if as_json:
        print_json(summary)
        return
    print_text(
        f"{len(neurons):,} of {model.n_neurons_total:,} neurons: {percent(neurons.share)} of the "
        f"neurons, {percent(of_parameters)} of the parameters ({scores.n_samples:,} samples)"
    )
    print_text(f"layers 0–{neurons.n_layers - 1} {neurons.layer_strip()}")
    if strongest:
        print_table(strongest, title="Strongest neurons")
    note(f"wrote {out}")
