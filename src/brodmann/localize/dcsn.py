"""DCSN: Detecting Capability-Specific Neurons (dcsn.txt, Eq. 1)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.run import (
    Sample,
    accumulate,
    batch_sizes,
    mean_by_sample,
    model_provenance,
    rounds_of,
    samples_of,
    work_of,
)
from brodmann.localize.until_stable import UntilStable
from brodmann.models.activations import Activations, captured, input_captured
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module, logit_factor, token_directions
from brodmann.models.norms import Norm, read_norm
from brodmann.neurons import NeuronScores

SITES = ("down_in", "act")
TARGETS = ("first", "mean")


@torch.no_grad()
def dcsn(
    model: LanguageModel,
    groups: Mapping[str, Sequence[Example]],
    *,
    target: str = "first",
    fold_norm: bool = True,
    site: str = "down_in",
    chat_template: str = "off",
    batch_size: int | Literal["auto"] = "auto",
    until_stable: UntilStable | None = None,
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> dict[str, NeuronScores]:
    """Score every neuron by what it adds to the answer token's logit, for several capabilities.

    C[l, j] = mean over samples of z_l[last, j] * (W_un[t] . W_down_l)[j]   (dcsn.txt, Eq. 1)

    with z the input of the down projection, t the target token, last the token that predicts it.
    Only the target's row of W_un W_down is formed. One forward pass through the decoder serves
    all groups; no logits, no backward. What differs from the paper: W_down only (W_up does not
    fit the dimensions); by default the direction is read through the final norm as it is at this
    token, C_j = z_j (<W_un[t]*g, w_j> - c_j) / s, and through the norm that some families put on
    the MLP output (gemma2/3, olmo2/3, glm4): w_j = g_post * W_down[:, j] / rms(MLP output). A
    residual multiplier, a logit scale and expert routing weights are applied; the derivative of a
    soft-cap is not. Sums are float64.

    Args:
        model: the model to look into.
        groups: capability -> its examples.
        target: ``"first"`` answer token, or the ``"mean"`` over the answer's tokens.
        fold_norm: read the direction through the norms; off is the paper's raw W_un W_down.
        site: ``"down_in"``, or ``"act"`` for the non-linearity's output in place of z.
        chat_template: ``"auto"`` puts the prompt into the user's turn.
        batch_size: sequences per batch, or ``"auto"``.
        until_stable: stop sampling when the selected sets are stable; None reads all examples.
        checkpoint: a file to keep the running sums in, and to go on from.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        Capability -> scores, in logits per sample, values of shape [L, N].

    Raises:
        InputError: an unknown option, or a site that the model's layers do not have.
        DataError: no examples, or one that cannot be tokenised apart.
    """
    if site not in SITES:
        raise InputError(f"Expected site out of {', '.join(SITES)} for DCSN; got '{site}'.")
    if site == "act" and any(place.activation is None for place in model.sites):
        raise InputError("site='act' needs dense MLPs; this model has experts: use 'down_in'.")
    samples = samples_of(model, groups, target=target, allowed=TARGETS, chat_template=chat_template)
    options: dict[str, object] = {
        "method": "dcsn",
        "target": target,
        "fold_norm": fold_norm,
        "site": site,
    }
    keeper = Checkpoint(checkpoint, work_of(model, samples, options))
    plan = keeper.plan(
        rounds_of(samples, lambda part: _batches(model, samples, part, batch_size), until_stable)
    )
    projection = Projection.of(model, fold_norm)
    sums = accumulate(
        ScoreSums(model, len(groups)),
        samples,
        plan,
        lambda batch: _batch_scores(model, batch, projection, site),
        label="Locating (dcsn)",
        checkpoint=keeper,
        progress=progress,
        until_stable=until_stable,
    )
    provenance = (
        options
        | model_provenance(model)
        | {
            "chat_template": chat_template,
            "logit_factor": logit_factor(model),
            "soft_cap_derivative": False,
            "batch_plan": batch_sizes(plan),
        }
    )
    return {
        name: sums.scores(index, provenance | {"group": name}) for index, name in enumerate(groups)
    }


@dataclass(frozen=True, slots=True)
class Projection:
    """How the residual stream is read: the final norm, and each layer's post-norm.

    Attributes:
        dtype: the type scores are computed in (float32, or float64 for float64 models).
        final: the norm before the unembedding; None reads the raw unembedding.
        post: the norm on each layer's MLP output, or None where there is none.
    """

    dtype: torch.dtype
    final: Norm | None
    post: tuple[Norm | None, ...]

    @classmethod
    def of(cls, model: LanguageModel, fold_norm: bool) -> "Projection":
        """Read the norms of a model."""
        dtype = model.score_dtype
        if not fold_norm:
            return cls(dtype, None, (None,) * model.n_layers)
        final = read_norm(final_norm_module(model), model.width, model.device, model.dtype)
        post = tuple(
            read_norm(site.post_norm, model.width, model.device, model.dtype)
            if site.post_norm
            else None
            for site in model.sites
        )
        return cls(dtype, final, post)

    @property
    def needs_written(self) -> bool:
        """Whether the MLPs' outputs have to be recorded."""
        return any(norm is not None for norm in self.post)


def _batches(
    model: LanguageModel,
    samples: Sequence[Sample],
    numbers: list[int],
    batch_size: int | Literal["auto"],
) -> list[list[int]]:
    lengths = [len(samples[number].reading.ids) for number in numbers]
    plan = plan_batches(lengths, batch_size, token_budget(model.hf))
    return [[numbers[i] for i in batch] for batch in plan]


def _batch_scores(
    model: LanguageModel, batch: Sequence[Sample], projection: Projection, site: str
) -> list[Float[Tensor, "B _"]]:
    padded = right_padded([sample.reading.ids for sample in batch], model.pad_id, model.device)
    length = padded.input_ids.shape[1]
    rows, positions, targets = [], [], []
    for row, sample in enumerate(batch):
        rows += [row] * len(sample.reading.positions)
        positions += [row * length + position for position in sample.reading.positions]
        targets += sample.reading.targets
    owner = torch.tensor(rows)
    flat = torch.tensor(positions)
    with _observed(model, flat, projection, site) as (layers, norm_inputs):
        # Padding stands behind and attention looks back only: no mask is needed, and without one
        # no row is fully masked (which gives NaN in float64) and the fast kernels apply.
        model.decoder(input_ids=padded.input_ids, use_cache=False)
    direction = token_directions(model, torch.tensor(targets), projection.dtype)
    if projection.final is not None:
        residual = norm_inputs[0].to(direction.device)
        direction = projection.final.pull_back(direction, projection.final.spread(residual))
    return [
        mean_by_sample(_layer_scores(model, layer, found, direction, projection), owner, len(batch))
        for layer, found in layers.items()
    ]


@contextmanager
def _observed(
    model: LanguageModel, flat: Tensor, projection: Projection, site: str
) -> Iterator[tuple[dict[int, Activations], list[Tensor]]]:
    with ExitStack() as stack:
        layers = stack.enter_context(
            captured(model, flat, written=projection.needs_written, site=site)
        )
        norm_inputs: list[Tensor] = []
        if projection.final is not None:
            norm_inputs = stack.enter_context(input_captured(final_norm_module(model), flat))
        yield layers, norm_inputs


def _layer_scores(
    model: LanguageModel,
    layer: int,
    found: Activations,
    direction: Float[Tensor, "P D"],
    projection: Projection,
) -> Float[Tensor, "P n"]:
    """z_j * <direction through the layer's post-norm, w_j> for every neuron of a layer."""
    assert found.z is not None
    place = model.sites[layer]
    here = direction.to(found.z.device)
    post = projection.post[layer]
    if post is not None:
        assert found.written is not None
        here = post.pull_back(here, post.spread(found.written))
    weights = place.project(here * place.multiplier, found.routing)
    return found.z.to(projection.dtype) * weights.to(found.z.device)
