"""Rules for the integral over alpha: where the gradient is evaluated, and with which weight."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import InputError

Nodes = tuple[Float[Tensor, "S"], Float[Tensor, "S"]]
"""Places in [0, 1] and their weights, float64."""


def quadrature_nodes(rule: str, steps: int) -> Nodes:
    """Nodes and weights of a rule on [0, 1].

    Args:
        rule: ``"gauss-legendre"``; ``"midpoint"``; ``"left"``, i/steps (Knowledge Neurons);
            ``"right"``, (i+1)/steps, whose single step is gradient times activation; ``"mean"``,
            linspace(0, 1, steps) averaged (the knowledge-neurons package); ``"paper"``,
            n/(steps-1), divided by steps-1 (cnl.txt Eq. 7: its weights add up to
            steps/(steps-1)).
        steps: gradient evaluations.

    Raises:
        InputError: no such rule, or fewer steps than it needs.
    """
    if rule not in RULES:
        raise InputError(f"Expected quadrature out of {', '.join(RULES)}; got '{rule}'.")
    least = 2 if rule == "paper" else 1
    if steps < least:
        raise InputError(f"Expected {least} or more steps for quadrature '{rule}'; got {steps}.")
    places, weights = RULES[rule](steps)
    return torch.from_numpy(places), torch.from_numpy(weights)


def norm_nodes(
    places: Float[Tensor, "S"], weights: Float[Tensor, "S"], ratio: Float[Tensor, "t"]
) -> tuple[Float[Tensor, "t S"], Float[Tensor, "t S"]]:
    """Move nodes of [0, 1] to where a root-mean-square norm's output is.

    A norm turns alpha u into s * g u / r, with s = alpha / sqrt(alpha^2 + c^2), c = sqrt(eps) / r
    and r the rms of u: almost all of its way to s = 1 lies near alpha = c. Nodes placed in s see
    what nodes in alpha see where nothing is normalised; nodes in asinh(alpha / c) waste half on
    the end where s is 1 already.

    Args:
        places: nodes on [0, 1].
        weights: their weights.
        ratio: q = 1 / c = r / sqrt(eps) of each integral; 0 leaves the nodes where they are.

    Returns:
        Nodes and weights in alpha: a node at the share p of the way to s(1) goes to
        alpha = p / sqrt(1 + q^2 (1 - p^2)), and dalpha = (1 + q^2) (1 + q^2 (1 - p^2))^(-3/2) dp.
    """
    q = ratio.double()[:, None].square()
    stretch = 1 + q * (1 - places.square())
    return places * stretch.rsqrt(), weights * (1 + q) * stretch.pow(-1.5)


def sinh_nodes(
    places: Float[Tensor, "S"], weights: Float[Tensor, "S"], ratio: Float[Tensor, "t"]
) -> tuple[Float[Tensor, "t S"], Float[Tensor, "t S"]]:
    """Spread nodes of [0, 1] over all magnitudes from a norm's c (see ``norm_nodes``) up to 1.

    For scalings in front of the non-linearity: they turn the MLP output as well as stretch it, at
    every magnitude of alpha, so that nodes at the norm's bend alone miss most of the turn.

    Args:
        places: nodes on [0, 1].
        weights: their weights.
        ratio: 1 / c of each integral; 0 leaves the nodes where they are.

    Returns:
        Nodes and weights in alpha = c sinh(p asinh(1 / c)).
    """
    ratio = ratio.double()[:, None].clamp_min(1e-6)  # below, sinh is linear in float64
    end = ratio.asinh()
    return (end * places).sinh() / ratio, weights * end * (end * places).cosh() / ratio


def _gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def _evenly(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return places, np.full(len(places), 1 / len(places))


RULES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "gauss-legendre": _gauss_legendre,
    "midpoint": lambda steps: _evenly((np.arange(steps) + 0.5) / steps),
    "left": lambda steps: _evenly(np.arange(steps) / steps),
    "right": lambda steps: _evenly((np.arange(steps) + 1.0) / steps),
    "mean": lambda steps: _evenly(np.linspace(0, 1, steps)),
    "paper": lambda steps: (
        np.arange(steps) / (steps - 1),
        np.full(steps, 1 / (steps - 1)),
    ),
}
