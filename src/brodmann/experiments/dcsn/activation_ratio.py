"""Which located neurons single examples activate (DCSN Eq. 4, as methods.md decides)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.data import Example
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.training import pairs_digest
from brodmann.experiments.workbench import Workbench
from brodmann.localize.dcsn import dcsn
from brodmann.localize.targets import readings
from brodmann.models.activations import captured
from brodmann.models.batches import right_padded
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronScores, NeuronSet

CHUNK = 16
"""Examples that are scored in one pass, each as a group of its own: sums of each are kept."""


def activation_rows(
    bench: Workbench, sample: Sample, sets: Mapping[str, NeuronSet], rule: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Select from each example's own scores, and count what each set has of these neurons.

    Args:
        bench: the model.
        sample: the examples.
        sets: name -> located set.
        rule: the arguments of :meth:`NeuronScores.select`.

    Returns:
        For each example ``expression``, ``operators`` and ``activated`` (how many neurons); and by
        set ``share`` (of the set that is activated; None for an empty one) and ``random`` (the mean
        of that over all sets with as many neurons in each layer, exactly).
    """
    examples = bench.examples(sample)
    key = {
        "activated": bench.digest(sample),
        "sets": {name: pairs_digest(one) for name, one in sets.items()},
        "rule": dict(rule),
    }

    def make() -> list[dict[str, Any]]:
        say(f"{bench.name}: activation of {len(examples)} x {sample.spec}")
        found = one_by_one(bench, examples)
        return [
            {"expression": e.meta["expression"], "operators": sorted(set(e.meta["operators"]))}
            | _counted(scores.select(**rule), sets)
            for e, scores in zip(examples, found, strict=True)
        ]

    return bench.piece(key, make)


def one_by_one(bench: Workbench, examples: Sequence[Example]) -> Iterator[NeuronScores]:
    """Yield every example's own scores."""
    for start in range(0, len(examples), CHUNK):
        groups = {str(i): [one] for i, one in enumerate(examples[start : start + CHUNK])}
        found = dcsn(bench.model, groups, batch_size=bench.batch_size, progress=False)
        yield from found.values()


@torch.no_grad()
def magnitudes(model: LanguageModel, examples: Sequence[Example]) -> Iterator[Float[Tensor, "L N"]]:
    """Yield |z| of every neuron at the last token in front of each example's answer."""
    sequences = readings(model, examples, target="first", chat_template="off")
    for start in range(0, len(sequences), CHUNK):
        part = [one.ids for one in sequences[start : start + CHUNK]]
        padded = right_padded(part, model.pad_id, model.device)
        length = padded.input_ids.shape[1]
        last = torch.tensor([row * length + len(ids) - 1 for row, ids in enumerate(part)])
        with captured(model, last) as seen:
            model.decoder(input_ids=padded.input_ids, use_cache=False)
        found = torch.zeros(len(part), *model.real.shape)
        for layer, activations in seen.items():
            assert activations.z is not None
            z = activations.z.abs().float().cpu()
            found[:, layer, : z.shape[1]] = z
        yield from found


def random_mean(of_neurons: Tensor, neurons: NeuronSet) -> float:
    """Return the mean of a number over random sets, matched per layer: exactly, without drawing.

    Args:
        of_neurons: the number of each neuron, [L, N]; what a set has is the mean over its neurons.
        neurons: the set to match; not empty.
    """
    real, counts = neurons.real, neurons.counts.double()
    of_layers = (of_neurons.double() * real).sum(1) / real.sum(1).clamp_min(1)
    return float((of_layers * counts).sum() / counts.sum())


def _counted(activated: NeuronSet, sets: Mapping[str, NeuronSet]) -> dict[str, Any]:
    known = {name: one for name, one in sets.items() if len(one)}
    nothing = dict.fromkeys(sets)
    share = {name: len(activated & one) / len(one) for name, one in known.items()}
    random = {name: random_mean(activated.mask, one) for name, one in known.items()}
    return {"activated": len(activated), "share": nothing | share, "random": nothing | random}
