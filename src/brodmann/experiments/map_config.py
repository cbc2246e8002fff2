"""What a map measures and how much of it: `MapConfig`, and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from brodmann.errors import InputError, UnknownNameError

MIN_DRAWS_FOR_P = 99
"""A permutation p is claimed from so many random draws on; below, only the rank is given."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where a verdict changes; compared with an interval, but for ``damaging``: with one value.

    Attributes:
        cohesive: sets of two samples share at least this part (max ratio).
        separable: sets of two capabilities share at most this part of what two samples of one
            capability share.
        same_set: as above, but at least: the set stays itself when all operators are given the
            same answers.
        damaging: perplexity on neutral text is multiplied by at least this.
    """

    cohesive: float = 0.5
    separable: float = 0.25
    same_set: float = 0.5
    damaging: float = 1.2


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """Everything that decides a map, besides the model.

    Attributes:
        preset: the preset this came from.
        capabilities: a family (``"arithmetic"``), or ``"math=a.jsonl,language=b.jsonl"``.
        method: the localisation method.
        data: options of a family's data specs, where the specs do not set them.
        views: further ways to ask for the same capability (a task, a language, a template), as
            options: located to compare with the main one. A family's only.
        answers: which distributions of answers to locate on: "free", and "matched" across
            operators. A family's only; others have "free".
        erased_answers: those of ``answers`` whose sets are erased, too.
        examples: examples per half; there are two disjoint halves.
        fewest: independent examples (expressions, prompts) below which a half is too small, and
            the halves are made of one pool instead (of other few-shot contexts).
        test_items: held-out items of each capability.
        raw_rule: how a raw set is selected (the papers' rule).
        contrast_rule: how a set is selected from scores minus the mean of the others'.
        draws: random sets matched per layer, for each erased set, on its own capability.
        norm_draws: random sets matched per layer and by activation magnitude, likewise.
        collateral_draws: how many of each kind of draw are measured on neutral text, too.
        neutral: data spec of texts that erasures must leave readable; None: the bundled ones.
        doses: which parts of each set are erased, strongest neurons first.
        dose_draws: random sets for each part below the whole, whose random sets are `draws`.
        resamples: bootstrap draws for the intervals of similarities.
        thresholds: where verdicts change.
        batch_size: sequences in a batch, or "auto".
        allow_code_execution: measure programs by running them.
        seed: of data, draws and bootstrap.
    """

    preset: str
    capabilities: str = "arithmetic"
    method: str = "dcsn"
    data: Mapping[str, str | int | bool] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, str | int | bool]] = field(default_factory=dict)
    answers: tuple[str, ...] = ("free", "matched")
    erased_answers: tuple[str, ...] = ("free",)
    examples: int = 64
    fewest: int = 16
    test_items: int = 32
    raw_rule: Mapping[str, Any] = field(
        default_factory=lambda: {
            "sigma": 6,
            "dispersion": "std",
            "scope": "global",
            "sign": "both",
        }
    )
    contrast_rule: Mapping[str, Any] = field(
        default_factory=lambda: {
            "sigma": 6,
            "dispersion": "std",
            "scope": "layer",
            "sign": "positive",
        }
    )
    draws: int = 3
    norm_draws: int = 0
    collateral_draws: int = 1
    neutral: str | None = None
    doses: tuple[float, ...] = (0.5, 1.0)
    dose_draws: int = 0
    resamples: int = 100
    thresholds: Thresholds = Thresholds()
    batch_size: int | Literal["auto"] = "auto"
    allow_code_execution: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("examples", "test_items", "resamples"):
            if getattr(self, name) < 2:
                raise InputError(f"Expected {name} of 2 or more; got {getattr(self, name)}.")
        for name in ("draws", "norm_draws", "collateral_draws", "dose_draws"):
            if getattr(self, name) < 0:
                raise InputError(f"Expected {name} of 0 or more; got {getattr(self, name)}.")
        if not all(0 < dose <= 1 for dose in self.doses):
            raise InputError(f"Expected doses above 0 and up to 1; got {list(self.doses)}.")
        if not set(self.erased_answers) <= set(self.answers):
            raise InputError(
                f"Expected erased_answers out of {list(self.answers)}; "
                f"got {list(self.erased_answers)}."
            )


_SMALL_NUMBERS: Mapping[str, str | int | bool] = {
    "template": "plain",
    "shots": 4,
    "max": 12,
    "repeat": True,
}

PRESETS: Mapping[str, MapConfig] = {
    "demo": MapConfig(preset="demo", data=_SMALL_NUMBERS),
    "full": MapConfig(
        preset="full",
        data={**_SMALL_NUMBERS, "max": 20},
        views={
            "mq": {"task": "mq"},
            "tf": {"task": "tf"},
            "en": {"template": "paper"},
            "zh": {"template": "paper", "lang": "zh"},
        },
        erased_answers=("free", "matched"),
        examples=256,
        test_items=128,
        draws=99,
        norm_draws=20,
        collateral_draws=20,
        doses=(0.1, 0.25, 0.5, 0.75, 1.0),
        dose_draws=5,
        resamples=200,
    ),
}
"""Two sizes of a map: ``demo`` takes minutes on a laptop, ``full`` is for claims."""


def with_enough_draws(config: MapConfig, capabilities: int) -> MapConfig:
    """Draw more random sets where so many capabilities could else never reach p < 0.05 (Holm)."""
    if config.draws < MIN_DRAWS_FOR_P:
        return config
    return replace(config, draws=max(config.draws, 20 * capabilities))


def preset(name: str, **changes: Any) -> MapConfig:
    """Return a preset, with some of its fields changed.

    Raises:
        UnknownNameError: when there is no such preset.
        InputError: when a changed value cannot be used.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return replace(PRESETS[name], **changes)
