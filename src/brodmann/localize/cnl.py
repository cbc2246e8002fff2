"""CNL: Capability Neuron Localization (cnl.txt, Eq. 7) by integrated gradients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from brodmann.data import Example
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.attribution import attribute
from brodmann.localize.until_stable import UntilStable
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores


def cnl(
    model: LanguageModel,
    groups: Mapping[str, Sequence[Example]],
    *,
    target: str = "mean",
    site: str = "down_in",
    quadrature: str = "gauss-legendre",
    steps: int = 20,
    refine: bool = True,
    chat_template: str = "off",
    batch_size: int | Literal["auto"] = "auto",
    memory_gb: int | float | None = None,
    until_stable: UntilStable | None = None,
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> dict[str, NeuronScores]:
    """Score every neuron by its integrated gradient of the answer's probability.

    A[l, j] = mean over samples and answer tokens y_m of
              z_j * integral over alpha in [0, 1] of dP(y_m) / dz_j at z_l = alpha z
                                                                            (cnl.txt, Eq. 7)

    with z the input of layer l's down projection at the last token of prompt + y_<m, scaled as a
    whole, one layer at a time. Exact on the tail engine (:mod:`brodmann.localize.tails`). What
    differs from the paper: the site (its appendix names the pre-activation: ``site="gate_pre"``),
    and the rule (its n/(steps-1) divided by steps-1 is ``quadrature="paper"``). Where a family
    normalises the MLP output before it is added, the default rule's nodes are moved to where the
    norm changes. With ``quadrature="right", steps=1`` this is gradient times activation.

    Args:
        model: the model to look into.
        groups: capability -> its examples.
        target: ``"mean"`` over the answer's tokens, its ``"first"`` token, or ``"sum_logprob"``:
            log P in place of P, summed over the answer's tokens.
        site: ``"down_in"``, ``"gate_pre"``, ``"up_pre"`` or ``"act"``.
        quadrature: see :func:`brodmann.localize.quadrature.quadrature_nodes`.
        steps: gradient evaluations of each integral.
        refine: take integrals that miss completeness by more than 1e-3 of the probability again
            with 4 and, if need be, 16 times the steps (default rule only, and not where experts
            are routed: there P jumps with alpha).
        chat_template: ``"auto"`` puts the prompt into the user's turn.
        batch_size: samples per batch, or ``"auto"``.
        memory_gb: what tails may take beside the model; None: a share of what is free.
        until_stable: stop sampling when the selected sets are stable; None reads all examples.
        checkpoint: a file to keep the running sums in, and to go on from.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        Capability -> scores, in probability (or in nats), values of shape [L, N].

    Raises:
        InputError: an unknown option, or a site that the model's layers do not have.
        DataError: no examples, or one that cannot be tokenised apart.
        RunError: memory does not hold a single tail.
    """
    sums, provenance = attribute(
        model, groups, ScoreSums(model, len(groups)), method="cnl", target=target, site=site,
        quadrature=quadrature, steps=steps, refine=refine, chat_template=chat_template,
        batch_size=batch_size, memory_gb=memory_gb, until_stable=until_stable,
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    return {
        name: sums.scores(index, provenance | {"group": name}) for index, name in enumerate(groups)
    }
