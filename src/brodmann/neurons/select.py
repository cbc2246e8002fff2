"""The rules that turn scores into a set of neurons (methods.md §4), as functions on tensors.

Statistics run in float64, over the neurons that exist, in the layers that the rule looks at.
"""

import math
import warnings
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brodmann.errors import InputError, UnknownNameError
from brodmann.shapes import LayerNeuron, LayerNeuronMask

MAD_TO_STD = 1.4826
"""The median absolute deviation of a normal distribution, times this, is its standard deviation."""

SCOPES = ("global", "layer")
SIGNS = ("both", "negative", "positive")


class RuleCannotFireWarning(UserWarning):
    """A rule that can select nothing, whatever the scores are."""


def sigma_mask(
    values: LayerNeuron,
    real: LayerNeuronMask,
    *,
    sigma: int | float = 6,
    dispersion: str = "std",
    scope: str = "global",
    sign: str = "both",
    exclude_last_layers: int = 0,
) -> LayerNeuronMask:
    """Select the neurons with ``|C - mean(C)| > sigma * dispersion(C)`` (CNL Eq. 8, DCSN Eq. 2).

    The papers print the variance as dispersion; the default is the standard deviation, because
    with the variance the set changes when all scores are multiplied by a constant.

    Args:
        values: signed scores C.
        real: which neurons exist.
        sigma: how many dispersions from the mean.
        dispersion: "std", "var" (both of the population: divided by n) or "mad" (median absolute
            deviation from the median, times 1.4826; the rule stays centred on the mean).
        scope: mean and dispersion over all layers ("global") or of each layer ("layer").
        sign: "positive" keeps ``C - mean(C) > 0`` only, "negative" the other side.
        exclude_last_layers: so many layers from the top are left out, also of the statistics.

    Raises:
        InputError: for an unknown name, a sigma that is not positive, or a NaN among the scores.

    Warns:
        RuleCannotFireWarning: where there are too few neurons for sigma (see :func:`can_fire`), or
            the dispersion is zero.
    """
    check_finite(values, real)
    _check_number(0 < sigma < math.inf, "a sigma above 0", sigma)
    _check_name("dispersion", dispersion, DISPERSIONS)
    _check_name("scope", scope, SCOPES)
    _check_name("sign", sign, SIGNS)
    n_layers = values.shape[0]
    _check_number(
        0 <= exclude_last_layers < n_layers,
        f"exclude_last_layers between 0 and {n_layers - 1}",
        exclude_last_layers,
    )
    included = real.clone()
    included[n_layers - exclude_last_layers :] = False
    mask = torch.zeros_like(real)
    idle = []
    for layers in (
        [slice(None)] if scope == "global" else [slice(i, i + 1) for i in range(n_layers)]
    ):
        group = values[layers][included[layers]].double()
        if not group.numel():
            continue
        centred, spread = group - group.mean(), DISPERSIONS[dispersion](group)
        if _is_idle(group, spread, sigma, dispersion):
            idle.append(layers.start)
            continue
        mask[layers][included[layers]] = _on_side(centred, sign) & (centred.abs() > sigma * spread)
    _warn_of_idle(idle, sigma, dispersion)
    return mask


def top_mask(
    values: LayerNeuron, real: LayerNeuronMask, k: int, sign: str = "both"
) -> LayerNeuronMask:
    """Select exactly ``k`` neurons with the largest ``|C|``; ties go to the lower (layer, index).

    Args:
        values: signed scores C.
        real: which neurons exist.
        k: how many.
        sign: "positive" ranks by C and "negative" by -C instead of ``|C|``.

    Raises:
        InputError: for an unknown sign, more neurons than exist, or a NaN among the scores.
    """
    check_finite(values, real)
    _check_name("sign", sign, SIGNS)
    n_real = int(real.sum())
    _check_number(0 <= k <= n_real, f"k between 0 and {n_real} (the neurons there are)", k)
    strength = {"both": values.abs(), "positive": values, "negative": -values}[sign]
    return _strongest(strength, real, k)


def strongest_mask(
    values: LayerNeuron, mask: LayerNeuronMask, fraction: int | float
) -> LayerNeuronMask:
    """Keep the given fraction of a set, the neurons with the largest ``|C|`` (dcsn.txt erases 0.1).

    Raises:
        InputError: when the fraction is not in (0, 1], or a score is NaN.
    """
    check_finite(values, mask)
    return _strongest(values.abs(), mask, count_of(fraction, int(mask.sum())))


def count_of(fraction: int | float, n: int) -> int:
    """Return how many of ``n`` a fraction means: rounded, and at least one where there is one.

    Raises:
        InputError: when the fraction is not in (0, 1].
    """
    _check_number(0 < fraction <= 1, "a fraction above 0 and up to 1", fraction)
    return min(n, max(1, round(fraction * n)))


def can_fire(n: int, sigma: int | float, outliers: int = 1) -> bool:
    """Whether so many equal outliers among ``n`` can exceed ``sigma`` standard deviations.

    Equal outliers that make up the share p of n lie sqrt((1-p)/p) standard deviations off the
    mean, at most: they are selected if and only if ``n > (sigma² + 1) outliers`` (37 at sigma 6).
    """
    return n > (sigma**2 + 1) * outliers


def _mad(group: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    return MAD_TO_STD * _median((group - _median(group)).abs())


def _median(group: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The mean of the two middle values: torch.median takes the lower one."""
    ordered, n = group.sort().values, group.numel()
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


DISPERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mad": _mad,
    "std": lambda group: group.std(correction=0),
    "var": lambda group: group.var(correction=0),
}
"""What a score's distance from the mean is measured in."""


def _is_idle(
    group: Float[Tensor, "n"], spread: Float[Tensor, ""], sigma: int | float, dispersion: str
) -> bool:
    # Equal scores have a dispersion of rounding errors: compare the scores themselves.
    if bool(spread == 0) or bool(group.min() == group.max()):
        return True
    return dispersion == "std" and not can_fire(group.numel(), sigma)


def _warn_of_idle(idle: list[int | None], sigma: int | float, dispersion: str) -> None:
    if not idle:
        return
    where = "" if idle == [None] else f" in layers {', '.join(map(str, idle))}"
    warnings.warn(
        f"The rule sigma={sigma:g} cannot select anything{where}: the {dispersion} is zero there, "
        f"or there are not more than sigma² + 1 = {sigma**2 + 1:g} neurons. Use a smaller sigma, "
        "another dispersion, or top(k).",
        RuleCannotFireWarning,
        stacklevel=3,
    )


def _on_side(centred: Float[Tensor, "n"], sign: str) -> Bool[Tensor, "n"]:
    if sign == "positive":
        return centred > 0
    return centred < 0 if sign == "negative" else torch.ones_like(centred, dtype=torch.bool)


def _strongest(strength: LayerNeuron, among: LayerNeuronMask, k: int) -> LayerNeuronMask:
    candidates = among.flatten().nonzero()[:, 0]
    order = strength.flatten()[candidates].sort(descending=True, stable=True).indices
    mask = torch.zeros(among.numel(), dtype=torch.bool)
    mask[candidates[order[:k]]] = True
    return mask.reshape(among.shape)


def check_finite(values: LayerNeuron, real: LayerNeuronMask) -> None:
    """Refuse scores that are NaN or infinite where a neuron exists."""
    bad = ~values.isfinite() & real
    if bad.any():
        layer, neuron = bad.nonzero()[0].tolist()
        raise InputError(
            f"Expected finite scores; {int(bad.sum())} are NaN or infinite, the first at layer "
            f"{layer}, neuron {neuron}. Check the model's weights, or use a wider dtype."
        )


def _check_number(holds: bool, expected: str, given: int | float) -> None:
    if not holds:
        raise InputError(f"Expected {expected}; got {given}.")


def _check_name(kind: str, given: str, known: Iterable[str]) -> None:
    if given not in known:
        raise UnknownNameError(kind, given, known)
