"""Edge scores from gradients of what receivers read: rows of a batch are points on a path."""

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.localize.edge_runs import run_decoder
from brodmann.localize.edge_traffic import FadingSenders
from brodmann.localize.targets import Reading
from brodmann.models.component_hooks import Components, routed
from brodmann.models.frozen import frozen
from brodmann.models.language_model import LanguageModel
from brodmann.models.probability import token_log_probability


def edge_gradients(
    model: LanguageModel,
    components: Components,
    reading: Reading,
    traffic: FadingSenders,
    n_rows: int,
) -> dict[int, Float[Tensor, "B T r D"]]:
    """The loss's gradient in what each receiver reads, one forward and one backward pass.

    Args:
        model: the model.
        components: its components.
        reading: the prompt; every row of the batch reads it.
        traffic: what happens between the components in each row.
        n_rows: rows of the batch.

    Returns:
        First receiver of each group -> gradients of -log P of the target.
    """
    places = list(reading.positions)
    with frozen(model.hf), torch.enable_grad(), routed(components, traffic):
        normed = run_decoder(model, [reading.ids] * n_rows)
        chosen = normed[:, places].flatten(0, 1)
    targets = torch.tensor(reading.targets).repeat(n_rows)
    _, slope = token_log_probability(model, chosen, targets)
    starts = sorted(traffic.probes)
    found = torch.autograd.grad(
        chosen, [traffic.probes[start] for start in starts], -slope.to(chosen)
    )
    return dict(zip(starts, found, strict=True))


def add_scores(
    scores: Float[Tensor, "S R"],
    components: Components,
    gaps: Float[Tensor, "B S T D"],
    gradients: dict[int, Float[Tensor, "B T r D"]],
) -> None:
    """Add <gap of the sender, gradient at the receiver>, summed over rows, tokens and width.

    Args:
        scores: running sums; changed.
        components: for who reads whom.
        gaps: what stands in a sender's place minus what it sends, times the row's weight.
        gradients: as :func:`edge_gradients` gives them.
    """
    flat = gaps.transpose(0, 1).flatten(1)
    for start, gradient in gradients.items():
        before, count = components.graph.before[start], gradient.shape[2]
        own = gradient.transpose(1, 2).transpose(0, 1).flatten(1).to(flat)
        scores[:before, start : start + count] += (flat[:before] @ own.T).to(scores)
