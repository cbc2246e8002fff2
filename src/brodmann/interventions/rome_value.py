"""The value v* of a ROME edit: what the MLP should write at the subject."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import ModelError
from brodmann.interventions.rome_rows import ReadRows
from brodmann.models.frozen import frozen
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import logits_from_normed

ENOUGH = 0.05
"""Where NLL and divergence are below it, the search stops; the peer's number, but it counts the
weight decay too, which alone may be larger."""


@dataclass(frozen=True, slots=True)
class ValueSearch:
    """How v* is searched for.

    Attributes:
        steps: evaluations of the loss at most; Adam steps are one fewer.
        lr: Adam's learning rate.
        kl: factor of KL(edited || unedited) behind "{subject} is a".
        weight_decay: factor of |shift| / |v|^2 (the peer's: the length is not squared).
        clamp: the shift's largest length, as a multiple of |v|.
    """

    steps: int
    lr: int | float
    kl: int | float
    weight_decay: int | float
    clamp: int | float

    def shift(
        self, model: LanguageModel, batches: Sequence[ReadRows], value: Float[Tensor, "D"]
    ) -> tuple[Float[Tensor, "D"], tuple[float, ...]]:
        """What to add to the MLP's output, and each step's loss, without the weight decay.

        Args:
            model: the model; its parameters take no gradients meanwhile.
            batches: the rows, read before.
            value: v, the MLP's output at the averaged key.

        Raises:
            ModelError: the loss is not finite.
        """
        shift = torch.zeros_like(value, requires_grad=True)
        optimiser = torch.optim.Adam([shift], lr=self.lr)
        size = value.norm()
        losses: list[float] = []
        stays: list[Tensor] = []
        with torch.enable_grad(), frozen(model.hf):
            for step in range(self.steps):
                loss, predicted = _loss(model, batches, shift, stays, self.kl)
                stays = stays or predicted
                losses.append(_finite(loss))
                if losses[-1] < ENOUGH or step == self.steps - 1:
                    break
                loss = loss + self.weight_decay * shift.norm() / size.square()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                with torch.no_grad():
                    shift.mul_((self.clamp * size / shift.norm().clamp_min(1e-30)).clamp(max=1))
        return shift.detach(), tuple(losses)


def _loss(
    model: LanguageModel,
    batches: Sequence[ReadRows],
    shift: Tensor,
    stays: Sequence[Tensor],
    kl: int | float,
) -> tuple[Tensor, list[Tensor]]:
    """NLL of the target plus the weighted divergence of what should stay.

    Also the log-probabilities of the latter, which later ones are compared with.
    """
    losses, predicted, divergences = [], [], []
    for batch in batches:
        logits = logits_from_normed(model, batch.normed(shift)).to(shift)
        log_probs = logits.log_softmax(-1).split([row.reads for row in batch.rows])
        for row, found in zip(batch.rows, log_probs, strict=True):
            if row.targets:
                wanted = torch.tensor(row.targets, device=found.device)
                losses.append(-found.gather(1, wanted[:, None]).mean())
                continue
            before = stays[len(predicted)] if stays else found.detach()
            divergences.append((found.exp() * (found - before)).sum())
            predicted.append(found.detach())
    return torch.stack(losses).mean() + kl * torch.stack(divergences).sum(), predicted


def _finite(loss: Tensor) -> float:
    if not loss.isfinite():
        raise ModelError(
            "Expected finite probabilities of the target; the model gives NaN or infinity. Check "
            "its weights, or load it in float32 or bfloat16."
        )
    return float(loss.detach())
