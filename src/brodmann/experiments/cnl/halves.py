"""Neurons of several data sets, each located on two disjoint halves: what these tables share."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from brodmann.data import DataSpec
from brodmann.errors import InputError
from brodmann.experiments.map_locate import interleaved
from brodmann.experiments.map_resample import Draws, std_masks
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronScores, NeuronSet

_FEWEST = 4
"""Examples of a data set: each half needs two, to draw from."""

_CHUNK = 8
"""Resamples whose scores are in memory together."""


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """On what neurons are located, and how.

    Attributes:
        data: data set, as a column is called, -> its data spec.
        examples: data set -> how many examples to locate on; half of them are in each half.
        method: the localisation method. With another than ``"cnl"`` the next three are not used.
        steps: gradient evaluations of each integral.
        quadrature: its rule.
        refine: whether integrals that are not complete are taken again; exact, and slower.
        sigma: how many standard deviations from the mean a located neuron's score is.
        resamples: bootstrap draws of blocks of examples.
        seed: of the split, the halves and the draws.
    """

    data: Mapping[str, str]
    examples: Mapping[str, int]
    method: str = "cnl"
    steps: int = 20
    quadrature: str = "gauss-legendre"
    refine: bool = True
    sigma: int | float = 6
    resamples: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.data:
            if self.examples.get(name, 0) < _FEWEST:
                raise InputError(
                    f"Expected {_FEWEST} or more examples of {name}, two in each half; got "
                    f"{self.examples.get(name, 0)}."
                )

    @property
    def options(self) -> dict[str, Any]:
        """The options of the method."""
        if self.method != "cnl":
            return {}
        return {"steps": self.steps, "quadrature": self.quadrature, "refine": self.refine}


@dataclass(frozen=True, eq=False)
class Located:
    """What was located on a data set.

    Attributes:
        name: of the data set.
        scores: of both halves together; ``scores.half(0)`` is the first.
        config: how the sets are selected.
        index: its place among the data sets, which draw independently of each other.
    """

    name: str
    scores: NeuronScores
    config: LocateConfig
    index: int

    @cached_property
    def whole(self) -> NeuronSet:
        """The set of both halves together."""
        return self.scores.select(self.config.sigma)

    @cached_property
    def halves(self) -> tuple[NeuronSet, NeuronSet]:
        """The sets of the halves, each alone."""
        first, second = (self.scores.half(which) for which in (0, 1))
        return first.select(self.config.sigma), second.select(self.config.sigma)

    @cached_property
    def whole_draws(self) -> Draws:
        """What would have been selected from other examples, both halves together."""
        return resampled(self.scores, self.config, 3 * self.index)

    @cached_property
    def half_draws(self) -> tuple[Draws, Draws]:
        """The same of each half; the halves are drawn independently."""
        first, second = (
            resampled(self.scores.half(which), self.config, 3 * self.index + which + 1)
            for which in (0, 1)
        )
        return first, second


def locate_halves(config: LocateConfig, bench: Workbench) -> dict[str, Located]:
    """Locate on two disjoint halves of every data set of a config."""
    found = {}
    for index, name in enumerate(config.data):
        first, second = (
            bench.scores(half_sample(config, name, which), config.method, **config.options)
            for which in (0, 1)
        )
        about = {"data": config.data[name], "seed": config.seed}
        scores = interleaved(first, second, about)
        found[name] = Located(name, scores, config, index)
    return found


def half_sample(config: LocateConfig, name: str, which: int) -> Sample:
    """Return the examples of the first (0) or second (1) half of a data set."""
    spec = DataSpec.parse(config.data[name]).with_options(part=f"{which + 1}/2")
    return Sample(str(spec), "train", config.examples[name] // 2, config.seed)


def resampled(scores: NeuronScores, config: LocateConfig, stream: int) -> Draws:
    """Select a set again from each of many resamples of the blocks of examples.

    Args:
        scores: scores with blocks of examples.
        config: its sigma, seed and number of resamples are used.
        stream: draws of one seed and different streams are independent.

    Returns:
        For each resample the numbers of the selected neurons.
    """
    filled = (scores.block_counts > 0).nonzero()[:, 0]
    rng = np.random.default_rng([config.seed, stream])
    times = rng.multinomial(len(filled), [1 / len(filled)] * len(filled), size=config.resamples)
    weights = torch.from_numpy(times) * scores.block_counts[filled]
    means = scores.block_means[filled].double().flatten(1)
    found: Draws = []
    for some in weights.double().split(_CHUNK):
        values = (some / some.sum(1, keepdim=True)) @ means
        values = values.reshape(-1, *scores.values.shape)
        masks = std_masks(values, scores.real, config.sigma, "global", "both")
        found += [frozenset(mask.flatten().nonzero()[:, 0].tolist()) for mask in masks]
    return found


def located_rows(located: Mapping[str, Located]) -> list[dict[str, Any]]:
    """Return the table ``located``: what was located on, and how exact the integrals are."""
    rows = []
    for name, one in located.items():
        about = one.scores.provenance
        rows.append(
            {
                "data": name,
                "spec": one.config.data[name],
                "examples": one.scores.n_samples,
                "neurons": len(one.whole),
                "neurons_of_halves": [len(half) for half in one.halves],
                "completeness_error_median": about.get("completeness_error_median"),
                "completeness_error_max": about.get("completeness_error_max"),
            }
        )
    return rows
