"""What a map measures: one `Job` for each set, real or random, and each thing it is tested on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from brodmann.evaluate import random_sets
from brodmann.experiments.map_config import MapConfig
from brodmann.experiments.map_sets import MapSet
from brodmann.neurons import NeuronSet
from brodmann.shapes import LayerNeuron

Stage = Literal["base", "erase", "control", "collateral", "dose"]
Kind = Literal["base", "located", "layer", "norm"]
Norms = Callable[[], LayerNeuron]
"""Gives the mean activation magnitude of each neuron, when it is needed."""

STAGES: dict[Stage, str] = {
    "base": "Asking the model as it is",
    "erase": "Erasing each set, tested on every capability",
    "control": "Erasing random sets of the same size",
    "collateral": "Reading neutral text",
    "dose": "Erasing growing parts of the sets",
}
"""The stages in the order they run, as a person reads them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement.

    Attributes:
        stage: the stage it belongs to.
        kind: what is erased: nothing ("base"), the located set, or a random set matched by layer
            ("layer") or by layer and activation magnitude ("norm").
        tested: the capability that is asked for; None: neutral text is read.
        source: the located set this is about; None for the model as it is.
        neurons: what is erased; None: nothing.
        draw: number of the random set.
        fraction: which part of the set.
    """

    stage: Stage
    kind: Kind
    tested: str | None = None
    source: MapSet | None = None
    neurons: NeuronSet | None = None
    draw: int | None = None
    fraction: float = 1.0

    @property
    def key(self) -> str:
        """Its name among the pieces of the run."""
        name = self.source.name if self.source else ""
        return f"{self.stage}/{name}/{self.tested}/{self.kind}/{self.draw}/{self.fraction:g}"


def plan_jobs(
    sets: Sequence[MapSet], capabilities: Sequence[str], config: MapConfig, norms: Norms
) -> list[Job]:
    """List the measurements of a map, stage by stage; empty sets have none.

    Args:
        sets: the sets to erase.
        capabilities: what to test.
        config: how many draws and which doses.
        norms: called only if draws matched by activation are wanted.
    """
    jobs = [Job(stage="base", kind="base", tested=name) for name in capabilities]
    filled = [one for one in sets if len(one.neurons)]
    for one in filled:
        for name in capabilities:
            jobs.append(
                Job(stage="erase", kind="located", tested=name, source=one, neurons=one.neurons)
            )
    drawn = [(one, list(_draws(one, config, norms))) for one in filled]
    for one, draws in drawn:
        for kind, draw, neurons in draws:
            own = {"tested": one.capability, "source": one, "neurons": neurons}
            jobs.append(Job(stage="control", kind=kind, draw=draw, **own))
    for one, draws in drawn:
        jobs.append(Job(stage="collateral", kind="located", source=one, neurons=one.neurons))
        for kind, draw, neurons in draws:
            if draw < config.collateral_draws:
                jobs.append(
                    Job(stage="collateral", kind=kind, source=one, neurons=neurons, draw=draw)
                )
    for one in filled:
        jobs += _doses(one, config)
    return jobs


def _draws(one: MapSet, config: MapConfig, norms: Norms) -> Iterator[tuple[Kind, int, NeuronSet]]:
    for draw, neurons in enumerate(random_sets(one.neurons, config.draws, seed=config.seed)):
        yield "layer", draw, neurons
    if config.norm_draws:
        by_norm = random_sets(
            one.neurons, config.norm_draws, "activation", seed=config.seed, norms=norms()
        )
        for draw, neurons in enumerate(by_norm):
            yield "norm", draw, neurons


def _doses(one: MapSet, config: MapConfig) -> Iterator[Job]:
    """The parts below the whole; the whole set is measured on the diagonal of the matrix."""
    for fraction in config.doses:
        if fraction == 1:
            continue
        part = one.neurons.strongest(one.scores, fraction)
        avoid = one.neurons if _can_avoid(one.neurons, part) else None
        drawn = random_sets(part, config.dose_draws, seed=config.seed, avoid=avoid)
        for draw, neurons in enumerate([part, *drawn], start=-1):
            yield Job(
                stage="dose",
                kind="located" if draw < 0 else "layer",
                tested=one.capability,
                source=one,
                neurons=neurons,
                draw=None if draw < 0 else draw,
                fraction=fraction,
            )


def _can_avoid(whole: NeuronSet, part: NeuronSet) -> bool:
    """Whether every layer has enough neurons outside the set to match a part of it."""
    return bool((whole.complement().counts >= part.counts).all())
