"""Integrated gradients over neurons (CNL Eq. 7, KN Eq. 2): from tails to scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import InputError
from brodmann.localize.quadrature import quadrature_nodes, sinh_nodes
from brodmann.localize.room import Room, in_chunks
from brodmann.localize.tails import Path, tail_gradients
from brodmann.models.language_model import LanguageModel
from brodmann.models.norms import Norm, read_norm
from brodmann.models.prefix import Prefix
from brodmann.models.sites import DenseSite, ExpertSite

SITES = ("down_in", "gate_pre", "up_pre", "act")


@dataclass(frozen=True, slots=True)
class Integral:
    """Which integral is taken.

    Attributes:
        places: nodes in [0, 1], float64 [S].
        weights: their weights.
        captured: what is scaled: ``"down_in"``, or ``"pre"`` (in front of the non-linearity).
        post_norms: per layer the norm on the MLP output, for nodes that follow it; None where
            there is none or the rule stays as written.
        logarithm: of log P in place of P.
    """

    places: Float[Tensor, "S"]
    weights: Float[Tensor, "S"]
    captured: str
    post_norms: tuple[Norm | None, ...]
    logarithm: bool

    @classmethod
    def of(
        cls, model: LanguageModel, site: str, quadrature: str, steps: int, *, logarithm: bool
    ) -> "Integral":
        """Read the options of a method.

        Raises:
            InputError: an unknown site or rule, or a site that the model does not have.
        """
        places, weights = quadrature_nodes(quadrature, steps)
        norms = _post_norms(model) if quadrature == "gauss-legendre" else (None,) * model.n_layers
        return cls(places, weights, captured_site(model, site), norms, logarithm)


def captured_site(model: LanguageModel, site: str) -> str:
    """Where a site's vector is scaled: ``"down_in"`` for all that are linear in the MLP output.

    ``act`` and, in gated MLPs, ``up_pre`` give the scores of ``down_in`` exactly: z is linear in
    them. In front of the non-linearity are ``gate_pre`` and, in plain MLPs, ``up_pre``.

    Raises:
        InputError: an unknown site, or one that the model does not have.
    """
    if site not in SITES:
        raise InputError(f"Expected site out of {', '.join(SITES)}; got '{site}'.")
    if site == "down_in":
        return site
    if any(isinstance(place, ExpertSite) for place in model.sites):
        raise InputError(f"site='{site}' needs dense MLPs; this model has experts: use 'down_in'.")
    gated = all(isinstance(place, DenseSite) and place.gated for place in model.sites)
    if site == "gate_pre" and not gated:
        raise InputError("site='gate_pre' needs gated MLPs; use 'up_pre', the plain MLP's own.")
    return "pre" if site == ("gate_pre" if gated else "up_pre") else "down_in"


def _post_norms(model: LanguageModel) -> tuple[Norm | None, ...]:
    return tuple(
        read_norm(site.post_norm, model.width, model.device, model.dtype)
        if site.post_norm
        else None
        for site in model.sites
    )


def integrated_gradients(
    model: LanguageModel,
    prefix: Prefix,
    targets: Int[Tensor, "P"],
    integral: Integral,
    path: Path,
    room: Room,
) -> list[Float[Tensor, "P n"]]:
    """A[l, j] = z_j * integral over alpha in [0, 1] of dP(y) / dz_j at z_l = alpha z, per token.

    One layer at a time, its whole vector scaled together, at the chosen token only.

    Args:
        model: the model.
        prefix: the sequences, read with ``integral.captured``.
        targets: y of each chosen token.
        integral: which integral.
        path: how tails are carried to the end.
        room: how many go at once; made smaller when memory runs out.

    Returns:
        Layer by layer the scores of each chosen token, in ``model.score_dtype``.
    """
    nodes = [_nodes(prefix, layer, integral) for layer in range(model.n_layers)]
    sums: list[Tensor | None] = [None] * model.n_layers

    def add(tasks: slice, scalings: slice) -> None:
        found = tail_gradients(
            model,
            prefix,
            torch.arange(tasks.start, tasks.stop),
            targets[tasks],
            [alphas[tasks, scalings] for alphas, _ in nodes],
            [weights[tasks, scalings] for _, weights in nodes],
            path=path,
            logarithm=integral.logarithm,
        )
        for layer, part in enumerate(found):
            total = sums[layer]
            if total is None:
                total = sums[layer] = part.new_zeros(len(targets), part.shape[1])
            total[tasks] += part

    in_chunks(room, len(targets), len(integral.places), add)
    return [_scores(model, prefix, layer, total) for layer, total in enumerate(sums)]


def _nodes(prefix: Prefix, layer: int, integral: Integral) -> tuple[Tensor, Tensor]:
    """Scalings and weights [P, S] of one layer."""
    norm, written = integral.post_norms[layer], prefix.layers[layer].written
    if norm is None:
        shape = (len(prefix.owners), len(integral.places))
        return integral.places.expand(shape), integral.weights.expand(shape)
    assert written is not None
    size = written.double().square().mean(-1).sqrt().cpu()
    return sinh_nodes(integral.places, integral.weights, size / norm.epsilon**0.5)


def _scores(
    model: LanguageModel, prefix: Prefix, layer: int, gradients: Tensor | None
) -> Float[Tensor, "P n"]:
    found = prefix.layers[layer]
    assert gradients is not None and found.z is not None
    z = found.z.to(gradients)
    if prefix.site == "pre":
        return z * gradients
    return z * model.sites[layer].project(gradients, found.routing).to(z)


def answer_tokens(
    sequences: Sequence[Any],
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Which tokens are looked at in a batch of readings: (sequence, position, target) of each."""
    owners = [row for row, reading in enumerate(sequences) for _ in reading.positions]
    positions = [position for reading in sequences for position in reading.positions]
    targets = [target for reading in sequences for target in reading.targets]
    return torch.tensor(owners), torch.tensor(positions), torch.tensor(targets)
