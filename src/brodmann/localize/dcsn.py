"""DCSN: Detecting Capability-Specific Neurons (dcsn.txt, Eq. 1)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import InputError
from brodmann.localize.accumulate import ScoreSums
from brodmann.localize.checkpoint import Checkpoint
from brodmann.localize.targets import Reading, readings
from brodmann.models.activations import Activations, captured, input_captured
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module, logit_factor, token_directions
from brodmann.models.norms import Norm, read_norm
from brodmann.neurons import NeuronScores
from brodmann.progress import progress as progress_bar

SITES = ("down_in", "act")


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
    samples = _samples(model, groups, target, chat_template)
    plan = plan_batches(
        [len(sample.reading.ids) for sample in samples], batch_size, token_budget(model.hf)
    )
    options: dict[str, object] = {
        "method": "dcsn",
        "target": target,
        "fold_norm": fold_norm,
        "site": site,
    }
    sums = ScoreSums(model, len(groups))
    keeper = Checkpoint(checkpoint, _work(model, samples, plan, options))
    done = keeper.restore(sums)
    projection = Projection.of(model, fold_norm)
    batches = progress_bar(plan[done:], len(plan), "Locating (dcsn)", done=done, shown=progress)
    for index, batch in enumerate(batches, start=done + 1):
        _add_batch(model, [samples[i] for i in batch], projection, site, sums)
        keeper.save(sums, index, now=index == len(plan))
    provenance = _provenance(model, options | {"chat_template": chat_template}, plan)
    return {
        name: sums.scores(index, provenance | {"group": name}) for index, name in enumerate(groups)
    }


def _provenance(
    model: LanguageModel, options: dict[str, object], plan: list[list[int]]
) -> dict[str, object]:
    return options | {
        "logit_factor": logit_factor(model),
        "soft_cap_derivative": False,
        "batch_plan": [len(batch) for batch in plan],
        "model": model.name,
        "fingerprint": model.fingerprint,
        "architecture": model.architecture.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantisation": model.quantisation,
    }


@dataclass(frozen=True, slots=True)
class _Sample:
    group: int
    index: int
    reading: Reading


def _samples(
    model: LanguageModel, groups: Mapping[str, Sequence[Example]], target: str, chat_template: str
) -> list[_Sample]:
    if not groups:
        raise InputError("Expected at least one group of examples; got none.")
    return [
        _Sample(group, index, reading)
        for group, examples in enumerate(groups.values())
        for index, reading in enumerate(
            readings(model, examples, target=target, chat_template=chat_template)
        )
    ]


def _work(
    model: LanguageModel, samples: list[_Sample], plan: list[list[int]], options: dict[str, object]
) -> dict[str, object]:
    return {
        "fingerprint": model.fingerprint,
        "dtype": str(model.dtype),
        "options": options,
        "plan": plan,
        "samples": [(s.group, s.index, s.reading.ids, s.reading.targets) for s in samples],
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


def _add_batch(
    model: LanguageModel,
    batch: list[_Sample],
    projection: Projection,
    site: str,
    sums: ScoreSums,
) -> None:
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
    groups = torch.tensor([sample.group for sample in batch])
    indices = torch.tensor([sample.index for sample in batch])
    sums.count(groups, indices)
    for layer, found in layers.items():
        scores = _layer_scores(model, layer, found, direction, projection)
        sums.add(layer, _mean_by_row(scores, owner, len(batch)), groups, indices)


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


def _mean_by_row(
    scores: Float[Tensor, "P n"], owner: Int[Tensor, "P"], n_rows: int
) -> Float[Tensor, "B n"]:
    """Mean over each sample's positions."""
    if len(owner) == n_rows:  # one position a sample
        return scores
    owner = owner.to(scores.device)
    counts = torch.bincount(owner, minlength=n_rows).to(scores)
    out = scores.new_zeros(n_rows, scores.shape[1]).index_add_(0, owner, scores)
    return out / counts[:, None]
