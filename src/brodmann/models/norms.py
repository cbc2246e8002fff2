"""What a norm does to a direction: its gain, whether it centres, and its spread at a token."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EPSILON_NAMES = ("variance_epsilon", "eps", "epsilon", "norm_eps")


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm or RMS norm as numbers: out = gain * (x - mean if centred) / spread (+ bias).

    Attributes:
        gain: [D], float32 (float64 for float64 models).
        centred: whether the mean over the width is subtracted.
        epsilon: what is added to the mean square under the root.
    """

    gain: Float[Tensor, "D"]
    centred: bool
    epsilon: float

    def spread(self, x: Float[Tensor, "*any D"]) -> Float[Tensor, "*any 1"]:
        """The number each row is divided by: rms, or standard deviation when centred."""
        x = x.to(self.gain.dtype)
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def linear(
        self, x: Float[Tensor, "*#any D"], spread: Float[Tensor, "*#any 1"]
    ) -> Float[Tensor, "*any D"]:
        """What a part of the norm's input adds to its output, with the spread held fixed."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x * self.gain.to(x.device) / spread.to(x.device)

    def pull_back(
        self, direction: Float[Tensor, "P D"], spread: Float[Tensor, "P 1"]
    ) -> Float[Tensor, "P D"]:
        """The direction at the norm's input that reads what ``direction`` reads at its output.

        <direction, out> = <pull_back(direction), x> + const, with the spread held fixed.
        """
        folded = direction * self.gain.to(direction.device)
        if self.centred:
            folded = folded - folded.mean(-1, keepdim=True)
        return folded / spread.to(direction.device)


@torch.no_grad()
def read_norm(module: nn.Module, width: int, device: torch.device, dtype: torch.dtype) -> Norm:
    """Read a norm by probing it, so that (1 + weight), no weight and LayerNorm need no table.

    An alternating +1/-1 vector has mean 0 and mean square 1; the odd part of the answer is the
    gain. A norm that ignores a constant added to its input centres.
    """
    probe = torch.ones(1, 1, width, device=device, dtype=dtype)
    probe[..., 1::2] = -1
    answer = module(probe)
    accurate = torch.float64 if dtype == torch.float64 else torch.float32
    gain = (answer - module(-probe)).to(accurate) / (2 * probe.to(accurate))
    epsilon = _epsilon(module, probe, gain)
    centred = torch.allclose(module(probe + 5), answer, rtol=1e-2, atol=1e-2)
    return Norm(gain[0, 0] * (1 + epsilon) ** 0.5, centred, epsilon)


def _epsilon(module: nn.Module, probe: Tensor, gain: Tensor) -> float:
    for name in _EPSILON_NAMES:
        if isinstance(value := getattr(module, name, None), float):
            return value
    # OLMo writes its epsilon into the code: a small input shows it, since
    # gain(a) / gain(1) = a sqrt(1 + eps) / sqrt(a^2 + eps) / a for an input of mean square a^2.
    small = 1e-3
    answer = module(probe * small) - module(-probe * small)
    ratio = (answer.to(gain) / (2 * probe.to(gain)) / gain).square().mean()
    return max(0.0, float(small**2 * (1 - ratio) / (ratio - small**2)))
