"""`SenderMeans`: what components send on average, which stands in for them under mean ablation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import InputError
from brodmann.localize.edge_runs import Asked, reading_of, run_decoder
from brodmann.localize.edge_traffic import Recorder
from brodmann.models.component_hooks import routed
from brodmann.models.components import components_of
from brodmann.models.language_model import LanguageModel
from brodmann.neurons.provenance import Provenance, check_made_on

ABLATIONS = ("zero", "mean")


@dataclass(frozen=True, eq=False)
class SenderMeans:
    """What each component of a model adds to the residual stream, mean over some prompts.

    The first token has a mean of its own: many models park contributions there that are hundreds
    of times larger than elsewhere.

    Attributes:
        first: at the first token, mean over prompts [S, D].
        others: at all other tokens, mean over them [S, D].
        n_prompts: how many prompts.
        provenance: model and fingerprint.
    """

    first: Float[Tensor, "S D"]
    others: Float[Tensor, "S D"]
    n_prompts: int
    provenance: Provenance

    def __len__(self) -> int:
        return self.n_prompts

    def over(self, n_tokens: int) -> Float[Tensor, "S T D"]:
        """The means at each token of a prompt of so many."""
        behind = self.others[:, None].expand(-1, n_tokens - 1, -1)
        return torch.cat([self.first[:, None], behind], 1)


Reference = Sequence[Asked] | SenderMeans
"""Prompts that the mean is taken over (facts by their first), or their means, made before."""


@torch.no_grad()
def sender_means(model: LanguageModel, prompts: Sequence[Asked]) -> SenderMeans:
    """Read prompts, and average what each component sends.

    One pass for each prompt; nothing but sums is kept. Made once, the means serve the circuits of
    many facts as their ``reference``.

    Args:
        model: the model.
        prompts: such as facts of one relation, or of several.

    Raises:
        InputError: no prompts.
        DataError: a prompt and an answer that do not tokenise apart.
        ModelError: the attention cannot be split into heads.
    """
    if not prompts:
        raise InputError("Expected one or more prompts to take the mean over; got none.")
    components = components_of(model)
    first = others = torch.zeros((), dtype=torch.float64)
    n_others = 0
    for prompt in prompts:
        recorder = Recorder()
        with routed(components, recorder):
            run_decoder(model, [reading_of(model, prompt, "first").ids])
        sent = recorder.values[0]
        first = first.to(sent.device) + sent[:, 0].double()
        others = others.to(sent.device) + sent[:, 1:].double().sum(1)
        n_others += sent.shape[1] - 1
    first = first / len(prompts)
    others = others / n_others if n_others else first
    about = {"model": model.name, "fingerprint": model.fingerprint}
    dtype = model.score_dtype
    return SenderMeans(first.to(dtype), others.to(dtype), len(prompts), about)


def replacements(
    model: LanguageModel, ablation: str, reference: Reference | None, n_tokens: int
) -> Float[Tensor, "S T D"] | None:
    """What stands in the place of a removed sender: nothing, or its mean over reference prompts.

    Args:
        model: the model.
        ablation: ``"zero"`` or ``"mean"``.
        reference: prompts for the mean, or their means.
        n_tokens: tokens of the prompt that edges are removed from (T).

    Raises:
        InputError: another ablation; ``reference`` missing, or given where it is not used.
        MismatchError: means of another model.
    """
    if ablation not in ABLATIONS:
        raise InputError(f"Expected ablation out of {', '.join(ABLATIONS)}; got '{ablation}'.")
    if (ablation == "mean") != bool(reference):
        raise InputError(
            f"Expected reference prompts with ablation 'mean' and only there; got "
            f"{len(reference or ())} with '{ablation}'. Give facts of the same relation."
        )
    if not reference:
        return None
    if not isinstance(reference, SenderMeans):
        reference = sender_means(model, reference)
    remedy = "Make them with sender_means on this model."
    check_made_on(model.fingerprint, model.name, reference.provenance, "means", remedy)
    return reference.over(n_tokens)
