"""`brodmann locate`: score every neuron on a capability, select a set, write both to a folder."""

from typing import Annotated, Any, Literal

import typer

from brodmann.cli import options

_METHODS = "How neurons are scored: dcsn, cnl (integrated gradients) or kn (of single facts)."
_TARGET = "Which answer tokens; the method's own choice by default. sum_logprob: cnl and kn."


def add_to(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("locate")(locate_command)


def locate_command(
    model: options.Model,
    data: options.Data,
    out: options.Out,
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
        Literal["down_in", "act", "gate_pre", "up_pre"],
        typer.Option("--site", help="Where a neuron is read; of dcsn down_in or act."),
    ] = "down_in",
    target: Annotated[
        Literal["first", "mean", "sum_logprob"] | None, typer.Option("--target", help=_TARGET)
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
        int | None, typer.Option("--steps", min=1, help="cnl, kn: gradients per integral (20).")
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
        Literal["off", "auto"], typer.Option("--chat-template", help="auto: the user's turn.")
    ] = "off",
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Score every neuron on a capability, select a set, and write both to a folder.

    The folder holds scores.safetensors, set.safetensors, set.json, run.json and the convergence
    curve, and is accepted wherever a SET is. Of kn the set joins those of all facts (rows with the
    same 'fact'), and facts.json tells which neurons are whose.
    """
    from brodmann.cli.locating import Request, run
    from brodmann.cli.opening import parse_batch_size

    given: dict[str, Any] = {
        "target": target, "fold_norm": fold_norm, "quadrature": quadrature, "steps": steps,
        "refine": refine, "memory_gb": memory_gb, "t": t, "p": p,
    }  # fmt: skip
    settings = {"site": site, "chat_template": chat_template} | _known(given)
    settings["batch_size"] = parse_batch_size(batch_size)
    rule = {"sigma": sigma, "dispersion": dispersion, "scope": scope, "sign": sign, "k": top}
    request = Request(
        model=model, device=device, dtype=dtype,
        data=data, split=split, limit=limit, seed=seed,
        method=method, settings=settings,
        rule=_known(rule), until_stable=until_stable, min_samples=min_samples,
    )  # fmt: skip
    run(request, out, resume=resume, overwrite=overwrite, as_json=as_json)


def _known(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
