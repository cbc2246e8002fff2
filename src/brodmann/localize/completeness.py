"""Completeness: a layer's scores add up to P(full) - P(layer zeroed), or are computed again."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.localize.integrated import Integral, integrated_gradients
from brodmann.localize.room import Room, in_chunks
from brodmann.localize.tails import Path, zeroed_log_probability
from brodmann.models.language_model import LanguageModel
from brodmann.models.prefix import Prefix
from brodmann.models.probability import token_log_probability

TOLERANCE = 1e-3
"""Error of an integral that is good enough."""

FACTOR = 4
"""How many times more nodes a second (and third) attempt takes."""

ATTEMPTS = 2
"""How often an integral is taken again at most."""


def differences(
    model: LanguageModel,
    prefix: Prefix,
    targets: Int[Tensor, "P"],
    path: Path,
    room: Room,
    *,
    logarithm: bool,
) -> tuple[Float[Tensor, "P L"], Float[Tensor, "P 1"]]:
    """What each layer's scores should add up to, and what errors are relative to.

    P(full) - P(site vector zeroed) and max(P(full), 1e-3); of log P, the difference and 1.

    Args:
        model: the model.
        prefix: the sequences, read before.
        targets: the token whose probability counts, for every chosen token.
        path: how tails are carried.
        room: how many go at once.
        logarithm: log P in place of P.
    """
    zeroed = torch.empty(len(targets), model.n_layers, dtype=model.score_dtype)

    def fill(part: slice, _: slice) -> None:
        tasks = torch.arange(part.start, part.stop)
        zeroed[part] = zeroed_log_probability(model, prefix, tasks, targets[part], path=path).cpu()

    in_chunks(room, len(targets), 1, fill)
    full = token_log_probability(model, prefix.final, targets)[0].cpu()[:, None]
    if logarithm:
        return full - zeroed, torch.ones_like(full)
    return full.exp() - zeroed.exp(), full.exp().clamp_min(1e-3)


def completed(
    model: LanguageModel,
    prefix: Prefix,
    targets: Int[Tensor, "P"],
    integral: Integral,
    scores: dict[int, Tensor],
    path: Path,
    room: Room,
    *,
    refine: bool,
) -> Float[Tensor, "P L"]:
    """Completeness errors of all scores; those that miss are taken again with more nodes.

    Most layers are exact to 1e-5 with 20 nodes. A layer whose MLP outweighs the residual stream
    that it is added to (often the lowest) turns it around as alpha grows, and needs more.

    Args:
        model: the model.
        prefix: the sequences, read before.
        targets: the token whose probability counts, for every chosen token.
        integral: which integral.
        scores: layer -> scores [P, n]; improved in place.
        path: how tails are carried.
        room: how many go at once.
        refine: take integrals that miss by more than ``TOLERANCE`` again.

    Returns:
        |sum of scores - (P(full) - P(zeroed))| / max(P(full), 1e-3), or for log P the difference,
        after refinement.
    """
    expected, unit = differences(model, prefix, targets, path, room, logarithm=integral.logarithm)
    for attempt in range(1, ATTEMPTS + 1):
        missed = _errors(scores, expected, unit) > TOLERANCE
        if not refine or not missed.any():
            break
        finer = replace(integral, steps=integral.steps * FACTOR**attempt)
        space = room.of_one_layer(model.n_layers, finer.steps)
        for layer in missed.any(0).nonzero()[:, 0].tolist():
            tasks = missed[:, layer].nonzero()[:, 0]
            found = integrated_gradients(
                model, prefix, tasks, targets[tasks], finer, path, space, [layer]
            )
            scores[layer][tasks.to(scores[layer].device)] = found[layer]
    return _errors(scores, expected, unit)


def _errors(scores: dict[int, Tensor], expected: Tensor, unit: Tensor) -> Float[Tensor, "P L"]:
    sums = torch.stack([scores[layer].sum(1).cpu() for layer in sorted(scores)], dim=1)
    return (sums - expected).abs() / unit
