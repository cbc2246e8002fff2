"""`brodmann locate`: score every neuron on a capability, select a set, write both to a folder."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from brodmann.cli import options

_METHODS = (
    "dcsn, cnl (integrated gradients); of facts: kn, tracing, circuit; of a fine-tune: neft; of "
    "groups: lape."
)
_DATA = (
    "NAME[/PART][:key=value,...], a JSONL file, or hub:ORG/NAME; of facts their file or folder, "
    "which is not split; lape: one for each group, as NAME=SPEC; neft: none."
)
_TARGET = (
    "Which answer tokens; the method's own choice by default. sum_logprob: cnl, kn; tracing: own "
    "(the model's) or answer."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("locate")(locate_command)


def locate_command(
    model: options.Model,
    out: options.Out,
    data: Annotated[list[str] | None, typer.Option("--data", metavar="SPEC", help=_DATA)] = None,
    split: options.Split = "train",
    limit: options.Limit = None,
    method: Annotated[str, typer.Option("--method", help=_METHODS)] = "dcsn",
    sigma: Annotated[
        float | None, typer.Option("--sigma", help="Keep what is so many dispersions off (6).")
    ] = None,
    dispersion: Annotated[
        Literal["std", "var", "mad"] | None, typer.Option("--dispersion", help="Of scores (std).")
    ] = None,
    scope: Annotated[
        Literal["global", "layer"] | None,
        typer.Option("--scope", help="Where the rule takes its mean (global)."),
    ] = None,
    sign: Annotated[
        Literal["both", "positive", "negative"] | None,
        typer.Option("--sign", help="Which side to keep (both; of kn: positive)."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Keep the K strongest instead of --sigma.")
    ] = None,
    t: Annotated[
        float | None, typer.Option("--t", help="kn: keep above t times the largest score (0.2).")
    ] = None,
    p: Annotated[
        float | None, typer.Option("--p", help="kn: in more than this share of prompts (0.7).")
    ] = None,
    site: Annotated[
        Literal["down_in", "act", "gate_pre", "up_pre"] | None,
        typer.Option("--site", help="Where a neuron is read (down_in); of dcsn it or act."),
    ] = None,
    target: Annotated[
        Literal["first", "mean", "sum_logprob", "own", "answer"] | None,
        typer.Option("--target", help=_TARGET),
    ] = None,
    fold_norm: Annotated[
        bool | None,
        typer.Option("--fold-norm/--no-fold-norm", help="dcsn: read through the final norm."),
    ] = None,
    quadrature: Annotated[
        str | None,
        typer.Option("--quadrature", help="cnl, kn: gauss-legendre, midpoint, left, paper, ..."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="cnl, kn: gradients per integral (20); circuit (5)."),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option("--refine/--no-refine", help="cnl: more steps where 20 miss completeness."),
    ] = None,
    until_stable: Annotated[
        float | None,
        typer.Option("--until-stable", help="Stop when two halves' sets overlap so much: 0.95."),
    ] = None,
    min_samples: Annotated[
        int, typer.Option("--min-samples", min=2, help="Look at stability from here on.")
    ] = 64,
    memory_gb: Annotated[
        float | None,
        typer.Option("--memory-gb", help="cnl, kn: memory beside the model (most of the free)."),
    ] = None,
    chat_template: Annotated[
        Literal["off", "auto"] | None,
        typer.Option("--chat-template", help="auto: the user's turn (off)."),
    ] = None,
    unknown_too: Annotated[
        bool, typer.Option("--unknown-too", help="tracing, circuit: facts the model gets wrong.")
    ] = False,
    draws: Annotated[
        int | None, typer.Option("--draws", min=1, help="tracing: of the noise (10).")
    ] = None,
    noise: Annotated[
        float | None, typer.Option("--noise", help="tracing: in standard deviations (3).")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=1, help="tracing: layers restored at once (10).")
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", min=1, help="tracing: strongest, for the set (3).")
    ] = None,
    top_edges: Annotated[
        int | None,
        typer.Option("--top-edges", min=1, help="circuit: how many (1 % of the model's)."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="circuit: remove those edges one by one (ACDC).")
    ] = False,
    tau: Annotated[
        float | None,
        typer.Option("--tau", help="--exact: nats that an edge must be worth (0.01)."),
    ] = None,
    ablation: Annotated[
        Literal["zero", "mean"] | None,
        typer.Option("--ablation", help="circuit: what a removed edge carries (zero)."),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option("--tuned", metavar="DIR", help="neft: a full fine-tune of the model."),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option("--percentile", help="lape: of all firing probabilities (0.95)."),
    ] = None,
    share: Annotated[
        float | None, typer.Option("--share", help="lape: of all neurons to keep (0.01).")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Score every neuron on a capability, select a set, and write both to a folder.

    The folder holds scores.safetensors, set.safetensors, set.json, run.json and what else the
    method tells (the convergence curve), and is accepted wherever a SET is. Of kn the set joins
    those of all facts (rows with the same 'fact', or a file of facts), and facts.json tells which
    neurons are whose; of lape it joins those of all groups, which stand in sets/; of tracing and
    circuit it is a projection of our own, of whole layers or MLPs.
    """
    from brodmann.cli.locate_methods import run
    from brodmann.cli.locate_request import Request
    from brodmann.cli.opening import parse_batch_size

    size = parse_batch_size(batch_size)
    settings: dict[str, Any] = {
        "site": site, "chat_template": chat_template, "target": target, "fold_norm": fold_norm,
        "quadrature": quadrature, "steps": steps, "refine": refine, "memory_gb": memory_gb,
        "t": t, "p": p, "unknown_too": unknown_too or None, "draws": draws, "noise": noise,
        "window": window, "layers": layers, "top_edges": top_edges,
        "exact": exact or None, "tau": tau, "ablation": ablation, "tuned": tuned,
        "percentile": percentile, "share": share, "batch_size": None if size == "auto" else size,
    }  # fmt: skip
    rule = {"sigma": sigma, "dispersion": dispersion, "scope": scope, "sign": sign, "k": top}
    request = Request(
        model=model, device=device, dtype=dtype,
        data=tuple(data or ()), split=split, limit=limit, seed=seed,
        method=method, settings=_known(settings),
        rule=_known(rule), until_stable=until_stable, min_samples=min_samples,
        out=out, resume=resume, overwrite=overwrite, as_json=as_json,
    )  # fmt: skip
    run(request)


def _known(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
