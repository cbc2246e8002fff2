"""LAPE (Tang et al. 2024): neurons whose firing tells languages, or other groups, apart."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.data import Example
from brodmann.errors import DataError, InputError
from brodmann.localize.processes import rank_and_count, summed
from brodmann.localize.run import model_provenance
from brodmann.models.batches import plan_batches, right_padded, token_budget
from brodmann.models.firing import firing_counted
from brodmann.models.language_model import LanguageModel
from brodmann.models.tokens import tokenise_answers
from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.progress import progress as progress_bar
from brodmann.shapes import LayerNeuron, LayerNeuronMask
from brodmann.storage import write_tensors


@dataclass(frozen=True, eq=False)
class Lape:
    """What the firing of every neuron says about groups of texts.

    Attributes:
        probabilities: the share of a group's tokens at which the non-linearity's output is above
            0, float64; of an expert's neuron, the share of the tokens routed to it. 0 where no
            neuron exists or no token came.
        entropy: of the probabilities normalised over the groups, nats: 0 for a neuron that fires
            for one group only, log G for one that makes no difference or never fires.
        neurons: group -> the selected neurons that fire for it.
        real: which neurons exist.
        provenance: model, groups, tokens, and all thresholds.
    """

    probabilities: Float[Tensor, "G L N"]
    entropy: LayerNeuron
    neurons: Mapping[str, NeuronSet]
    real: LayerNeuronMask
    provenance: dict[str, Any]

    def scores(self) -> NeuronScores:
        """How specific each neuron is, log G - entropy, as scores (which have no variance)."""
        unsure = torch.tensor(len(self.neurons), dtype=torch.float64).log()
        values = (unsure - self.entropy).clamp_min(0).where(self.real, 0)
        return NeuronScores(
            values=values,
            variance=torch.full_like(values, torch.nan),
            n_samples=sum(self.provenance["samples"].values()),
            block_means=torch.zeros(0, *values.shape, dtype=values.dtype),
            block_counts=torch.zeros(0, dtype=torch.long),
            real=self.real.clone(),
            provenance=self.provenance,
        )

    def write_into(self, folder: str | os.PathLike[str]) -> None:
        """Write ``lape.safetensors``, and each group's set under ``sets/``."""
        tensors = {"probabilities": self.probabilities, "entropy": self.entropy}
        groups = list(self.neurons)
        write_tensors(Path(folder) / "lape.safetensors", tensors, {"groups": "\n".join(groups)})
        for number, (name, neurons) in enumerate(self.neurons.items(), start=1):
            where = Path(folder) / "sets" / f"{number}-{_file_name(name)}"
            where.mkdir(parents=True)
            neurons.write_into(where)


@torch.no_grad()
def lape(
    model: LanguageModel,
    groups: Mapping[str, Sequence[Example]],
    *,
    percentile: float = 0.95,
    share: float = 0.01,
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> Lape:
    """Find the neurons that fire for some groups of texts and not for others.

    p[g, l, j] = share of group g's tokens with act > 0;  q = p / sum over g of p;
    LAPE[l, j] = -sum over g of q log q

    with act the output of the non-linearity (act(gate) of a gated MLP). Neurons whose largest p
    is not above the given percentile of all p are dropped; of the others those with the lowest
    entropy are kept, as many as ``share`` of all neurons; a kept neuron belongs to each group in
    which its p is above the same percentile. What differs from the authors' code: the texts are
    examples (prompt, delimiter and answer, all of whose tokens count, special ones aside) instead
    of a fixed number of tokens of a corpus; of experts only routed tokens count.

    Args:
        model: the model to look into.
        groups: language, or any other name -> its texts; about as many tokens each.
        percentile: of all probabilities, from 0 to below 1.
        share: of all neurons that are kept, above 0.
        batch_size: texts of a batch, or ``"auto"``.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Raises:
        InputError: fewer than two groups, or a threshold out of range.
        DataError: a group without texts, or a text that cannot be read.
        ModelError: a non-linearity that cannot be observed.
    """
    _check(groups, percentile, share)
    counts = [
        _counted(model, name, examples, batch_size, progress) for name, examples in groups.items()
    ]
    probabilities = torch.stack([above.double() / tokens.clamp_min(1) for above, tokens in counts])
    entropy = _entropy(probabilities)
    masks, rule = _selected(probabilities, entropy, model.real, percentile, share)
    provenance = model_provenance(model) | {
        "method": "lape",
        "options": {"percentile": percentile, "share": share},
        "groups": list(groups),
        "samples": {name: len(examples) for name, examples in groups.items()},
        "tokens": {
            name: int(tokens.max()) for name, (_, tokens) in zip(groups, counts, strict=True)
        },
        "rule": rule,
    }
    sets = {
        name: NeuronSet.from_mask(mask, model.real, provenance | {"group": name})
        for name, mask in zip(groups, masks, strict=True)
    }
    return Lape(probabilities, entropy, sets, model.real.clone(), provenance)


def _counted(
    model: LanguageModel,
    name: str,
    examples: Sequence[Example],
    batch_size: int | Literal["auto"],
    progress: bool | None,
) -> tuple[Int[Tensor, "L N"], Int[Tensor, "L N"]]:
    """How often each neuron fired in a group's texts, and how many tokens it saw."""
    texts = [(example.prompt, example.delimiter, example.answer) for example in examples]
    sequences = [answer.ids for answer in tokenise_answers(model, texts)]
    above = torch.zeros(model.real.shape, dtype=torch.long)
    tokens = torch.zeros_like(above)
    plan = plan_batches([len(ids) for ids in sequences], batch_size, token_budget(model.hf))
    rank, count = rank_and_count()
    for batch in progress_bar(plan[rank::count], label=f"Locating (lape, {name})", shown=progress):
        padded = right_padded([sequences[i] for i in batch], model.pad_id, model.device)
        special = torch.tensor(model.tokenizer.all_special_ids, dtype=torch.long)
        ids = padded.input_ids.cpu()
        counted = padded.attention_mask.cpu().bool() & ~torch.isin(ids, special)
        with firing_counted(model, counted.flatten()) as layers:
            model.decoder(input_ids=padded.input_ids, use_cache=False)
        for layer, firing in enumerate(layers):
            above[layer, : len(firing.above)] += firing.above
            tokens[layer, : len(firing.tokens)] += firing.tokens
    return summed(above), summed(tokens)


def _entropy(probabilities: Float[Tensor, "G L N"]) -> LayerNeuron:
    total = probabilities.sum(0)
    shares = probabilities / total.where(total > 0, 1)
    entropy = -torch.xlogy(shares, shares).sum(0)
    return entropy.where(total > 0, torch.tensor(len(probabilities)).double().log())


def _selected(
    probabilities: Float[Tensor, "G L N"],
    entropy: LayerNeuron,
    real: LayerNeuronMask,
    percentile: float,
    share: float,
) -> tuple[list[LayerNeuronMask], dict[str, Any]]:
    """Each group's neurons, and the thresholds that decided."""
    flat = probabilities[:, real].flatten()
    bar = flat.kthvalue(max(1, round(len(flat) * percentile))).values
    fires = probabilities > bar
    candidates = (fires.any(0) & real).flatten().nonzero()[:, 0]
    most = round(int(real.sum()) * share)
    order = entropy.flatten()[candidates].argsort(stable=True)[:most]
    kept = torch.zeros_like(real)
    kept.view(-1)[candidates[order]] = True
    rule = {
        "percentile": percentile,
        "probability_above": float(bar),
        "share": share,
        "kept": int(kept.sum()),
        "entropy_up_to": float(entropy[kept].max()) if kept.any() else None,
    }
    return [kept & mask for mask in fires], rule


def _file_name(group: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in group)[:60]


def _check(groups: Mapping[str, Sequence[Example]], percentile: float, share: float) -> None:
    if len(groups) < 2:
        raise InputError(f"Expected two or more groups of texts to tell apart; got {len(groups)}.")
    for name, examples in groups.items():
        if not examples:
            raise DataError(f"Expected texts in every group; '{name}' has none.")
    if not 0 <= percentile < 1:
        raise InputError(f"Expected percentile from 0 to below 1; got {percentile:g}.")
    if not 0 < share <= 1:
        raise InputError(f"Expected share above 0 and up to 1; got {share:g}.")
