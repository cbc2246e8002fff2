"""`inspect_neurons`: what each neuron of a set writes, and what makes it fire."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import MismatchError
from brodmann.localize.targets import readings
from brodmann.models.activations import captured
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module
from brodmann.models.norms import read_norm
from brodmann.models.weights import dense_weight
from brodmann.neurons import NeuronScores, NeuronSet

CHUNK = 64
"""Neurons whose logits [k, V] are formed at once."""


def inspect_neurons(
    model: LanguageModel,
    neurons: NeuronSet,
    scores: NeuronScores | None = None,
    examples: Sequence[Example] = (),
    *,
    top: int | None = None,
    n_tokens: int = 10,
    n_examples: int = 3,
    batch_size: int | Literal["auto"] = "auto",
    force: bool = False,
) -> list[dict[str, Any]]:
    """Describe the neurons of a set, the strongest first where there are scores.

    Args:
        model: the model.
        neurons: which neurons.
        scores: their scores, where they are known.
        examples: what to feed the model to see which examples make a neuron fire.
        top: describe only so many.
        n_tokens: how many promoted and suppressed tokens to name.
        n_examples: how many examples to name.
        batch_size: sequences per batch, or "auto".
        force: accept a set that was located on another model of the same shape.

    Returns:
        One row per neuron: ``layer``, ``neuron``, ``score``, ``standard_error`` and ``sign`` (None
        without scores), ``promotes`` and ``suppresses`` (see :func:`vocabulary_effect`), and
        ``examples``: those with the largest |activation| in front of the answer, each with
        ``activation``, ``prompt`` and ``answer``.

    Raises:
        MismatchError: when the set or the scores belong to another model.
        DataError: when an example cannot be tokenised.
    """
    if neurons.mask.shape != model.real.shape:
        raise MismatchError(
            f"Expected a set of {model.n_layers} layers x {model.n_neurons} neurons for "
            f"'{model.name}'; got {' x '.join(str(size) for size in neurons.mask.shape)}."
        )
    neurons.check_belongs(model.fingerprint, model.name, force=force)
    pairs = sorted(neurons, key=lambda pair: -abs(scores.values[pair].item()) if scores else 0)
    pairs = pairs[:top]
    rows = [_scored(layer, neuron, scores) for layer, neuron in pairs]
    for start in range(0, len(pairs), CHUNK):
        effects = vocabulary_effect(model, pairs[start : start + CHUNK])
        for row, effect in zip(rows[start : start + CHUNK], effects, strict=True):
            row["promotes"] = _tokens(model, effect.topk(n_tokens).indices)
            row["suppresses"] = _tokens(model, (-effect).topk(n_tokens).indices)
    if examples:
        fired = answer_activations(model, pairs, examples, batch_size=batch_size)
        for row, column in zip(rows, fired.T, strict=True):
            row["examples"] = _strongest(column, examples, n_examples)
    return rows


@torch.no_grad()
def vocabulary_effect(
    model: LanguageModel, pairs: Sequence[tuple[int, int]]
) -> Float[Tensor, "k V"]:
    """What one unit of each neuron adds to every token's logit, up to the norm's scale.

    W_un (g * w_j), with g the final norm's gain and w_j the neuron's column of W_down, through
    the gain of the norm on the MLP output where the family has one. A norm that centres takes the
    mean off first. A neuron with a negative activation does the opposite.
    """
    head = model.hf.get_output_embeddings()
    assert head is not None
    width = head.weight.shape[-1]
    dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
    final = read_norm(final_norm_module(model), width, model.device, model.dtype)
    written = []
    for layer, neuron in pairs:
        site = model.sites[layer]
        column = site.columns(torch.tensor([neuron]))[0].to(model.device, dtype)
        if site.post_norm is not None:
            post = read_norm(site.post_norm, width, model.device, model.dtype)
            column = column * post.gain.to(column)
        written.append(column - column.mean() if final.centred else column)
    columns = torch.stack(written) * final.gain.to(written[0])
    with dense_weight(head) as weight:
        return columns.to(weight.device) @ weight.to(dtype).T


@torch.no_grad()
def answer_activations(
    model: LanguageModel,
    pairs: Sequence[tuple[int, int]],
    examples: Sequence[Example],
    *,
    batch_size: int | Literal["auto"] = "auto",
) -> Float[Tensor, "M k"]:
    """Each neuron's activation at the last token in front of each example's answer."""
    sequences = readings(model, examples, target="first", chat_template="off")
    lengths = [len(reading.ids) for reading in sequences]
    out = torch.zeros(len(examples), len(pairs))
    layers = sorted({layer for layer, _ in pairs})
    for batch in plan_batches(lengths, batch_size, token_budget(model.hf)):
        padded = right_padded([sequences[i].ids for i in batch], model.pad_id, model.device)
        length = padded.input_ids.shape[1]
        last = torch.tensor([row * length + lengths[i] - 1 for row, i in enumerate(batch)])
        with captured(model, last, layers=layers) as seen:
            model.decoder(input_ids=padded.input_ids, use_cache=False)
        for column, (layer, neuron) in enumerate(pairs):
            z = seen[layer].z
            assert z is not None
            out[batch, column] = z[:, neuron].float().cpu()
    return out


def _scored(layer: int, neuron: int, scores: NeuronScores | None) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": layer, "neuron": neuron}
    if scores is None:
        return row | {"score": None, "standard_error": None, "sign": None}
    score = scores.values[layer, neuron].item()
    error = scores.standard_error[layer, neuron].item()
    return row | {"score": score, "standard_error": error, "sign": "+" if score > 0 else "-"}


def _tokens(model: LanguageModel, ids: Tensor) -> list[str]:
    return [str(model.tokenizer.decode([token])) for token in ids.tolist()]


def _strongest(column: Tensor, examples: Sequence[Example], count: int) -> list[dict[str, Any]]:
    order = column.abs().argsort(descending=True)[:count].tolist()
    return [
        {
            "activation": column[index].item(),
            "prompt": examples[index].prompt,
            "answer": examples[index].answer,
        }
        for index in order
    ]
