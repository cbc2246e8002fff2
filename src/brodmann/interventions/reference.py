"""What each neuron usually does: its mean and its mean magnitude over reference texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from brodmann.data import Example
from brodmann.errors import DataError
from brodmann.models.activations import captured
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import tokenise_answers
from brodmann.progress import progress as progress_bar
from brodmann.shapes import LayerNeuron


@dataclass(frozen=True, slots=True)
class ReferenceActivations:
    """Per-neuron averages over all tokens of some examples.

    For an expert's neuron the average runs over the tokens that the router sent there.

    Attributes:
        mean: [L, N], mean of z.
        magnitude: [L, N], mean of |z|.
    """

    mean: LayerNeuron
    magnitude: LayerNeuron


@torch.no_grad()
def reference_activations(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> ReferenceActivations:
    """Average z and |z| of every neuron over every token of the examples (float64 sums).

    Raises:
        DataError: no examples.
    """
    if not examples:
        raise DataError("Expected at least one example to average activations over; got none.")
    texts = [(example.prompt, example.delimiter, example.answer) for example in examples]
    sequences = [answer.ids for answer in tokenise_answers(model, texts)]
    plan = plan_batches([len(ids) for ids in sequences], batch_size, token_budget(model.hf))
    total = torch.zeros(3, *model.real.shape, dtype=torch.float64)
    for batch in progress_bar(plan, len(plan), "Averaging activations", shown=progress):
        padded = right_padded([sequences[i] for i in batch], model.pad_id, model.device)
        flat = padded.attention_mask.reshape(-1).nonzero()[:, 0]
        with captured(model, flat) as layers:
            model.decoder(input_ids=padded.input_ids, use_cache=False)  # padding stands behind
        for layer, found in layers.items():
            assert found.z is not None
            z = found.z.double().cpu()
            here = total[:, layer, : z.shape[1]]
            here[0] += z.sum(0)
            here[1] += z.abs().sum(0)
            if found.routing is None:
                here[2] += len(z)
            else:
                seen = (found.routing != 0).sum(0).double().cpu()
                here[2] += seen.repeat_interleave(z.shape[1] // len(seen))
    counts = total[2].clamp(min=1)
    return ReferenceActivations((total[0] / counts).float(), (total[1] / counts).float())
