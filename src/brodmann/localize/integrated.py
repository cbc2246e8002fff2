"""Integrated gradients over neurons (CNL Eq. 7, KN Eq. 2): from tails to scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import InputError
from brodmann.localize.quadrature import norm_nodes, quadrature_nodes, sinh_nodes
from brodmann.localize.room import Room, in_chunks
from brodmann.localize.tails import Path, tail_gradients
from brodmann.models.language_model import LanguageModel
from brodmann.models.norms import Norm, read_norm
from brodmann.models.prefix import Prefix
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite

SITES = ("down_in", "gate_pre", "up_pre", "act")


@dataclass(frozen=True, slots=True)
class Integral:
    """Which integral is taken, and how.

    Attributes:
        captured: what is scaled: ``"down_in"``, or ``"pre"`` (in front of the non-linearity).
        quadrature: the rule.
        steps: gradient evaluations.
        post_norms: per layer the norm on the MLP output, for nodes that follow it; None where
            there is none or the rule stays as written.
        logarithm: of log P in place of P.
    """

    captured: str
    quadrature: str
    steps: int
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
        quadrature_nodes(quadrature, steps)
        follows = quadrature == "gauss-legendre"
        norms = tuple(_post_norm(model, site) if follows else None for site in model.sites)
        return cls(captured_site(model, site), quadrature, steps, norms, logarithm)


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


def _post_norm(model: LanguageModel, site: NeuronSite) -> Norm | None:
    if site.post_norm is None:
        return None
    return read_norm(site.post_norm, model.width, model.device, model.dtype)


def integrated_gradients(
    model: LanguageModel,
    prefix: Prefix,
    tasks: Int[Tensor, "t"],
    targets: Int[Tensor, "t"],
    integral: Integral,
    path: Path,
    room: Room,
    layers: Sequence[int] | None = None,
) -> dict[int, Float[Tensor, "t n"]]:
    """A[l, j] = z_j * integral over alpha in [0, 1] of dP(y) / dz_j at z_l = alpha z, per token.

    One layer at a time, its whole vector scaled together, at the chosen token only.

    Args:
        model: the model.
        prefix: the sequences, read with ``integral.captured``.
        tasks: indices of chosen tokens of the prefix.
        targets: y of each.
        integral: which integral.
        path: how tails are carried to the end.
        room: how many go at once; made smaller when memory runs out.
        layers: which layers; all by default.

    Returns:
        Layer -> the scores of each task, in ``model.score_dtype``.
    """
    chosen = range(model.n_layers) if layers is None else layers
    nodes = {layer: _nodes(prefix, tasks, layer, integral) for layer in chosen}
    sums: dict[int, Tensor] = {}

    def add(part: slice, scalings: slice) -> None:
        found = tail_gradients(
            model, prefix, tasks[part], targets[part],
            {layer: alphas[part, scalings] for layer, (alphas, _) in nodes.items()},
            {layer: weights[part, scalings] for layer, (_, weights) in nodes.items()},
            path=path, logarithm=integral.logarithm,
        )  # fmt: skip
        for layer, gradients in found.items():
            if layer not in sums:
                sums[layer] = gradients.new_zeros(len(tasks), gradients.shape[1])
            sums[layer][part] += gradients

    in_chunks(room, len(tasks), integral.steps, add)
    return {layer: _scores(model, prefix, tasks, layer, total) for layer, total in sums.items()}


def _nodes(prefix: Prefix, tasks: Tensor, layer: int, integral: Integral) -> tuple[Tensor, Tensor]:
    """Scalings and weights [t, S] of one layer."""
    places, weights = quadrature_nodes(integral.quadrature, integral.steps)
    norm, written = integral.post_norms[layer], prefix.layers[layer].written
    if norm is None:
        return places.expand(len(tasks), -1), weights.expand(len(tasks), -1)
    assert written is not None
    size = written[tasks.to(written.device)].double().square().mean(-1).sqrt().cpu()
    move = sinh_nodes if prefix.site == "pre" else norm_nodes
    return move(places, weights, size / norm.epsilon**0.5)


def _scores(
    model: LanguageModel, prefix: Prefix, tasks: Tensor, layer: int, gradients: Tensor
) -> Float[Tensor, "t n"]:
    found = prefix.layers[layer]
    assert found.z is not None
    z = found.z[tasks.to(found.z.device)].to(gradients)
    if prefix.site == "pre":
        return z * gradients
    routing = None if found.routing is None else found.routing[tasks.to(found.routing.device)]
    return z * model.sites[layer].project(gradients, routing).to(z)
