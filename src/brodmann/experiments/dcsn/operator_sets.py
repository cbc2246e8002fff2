"""The four operators' sets of neurons, by the ways to ask: what several tables begin with.

Each operator is located on two disjoint samples of every task and language. A *view* is a row of
the paper's tables: one task in English (DG, MQ, TF), or several tasks of one language pooled (CH,
EN).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brodmann.experiments.cells import OPERATORS
from brodmann.experiments.map_config import MapConfig
from brodmann.experiments.map_locate import interleaved
from brodmann.experiments.map_sets import MapSet, select_sets
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronScores, NeuronSet, pooled

TASKS = {"DG": "dg", "MQ": "mq", "TF": "tf"}
LANGUAGES = {"CH": "zh", "EN": "en"}
VIEWS = (*TASKS, *LANGUAGES)
"""Rows of the paper's tables: tasks in English, and languages over tasks."""

RULES = {"": "raw", " (contrastive)": "contrast"}
"""What a block's name ends with -> how its sets are selected."""


@dataclass(frozen=True, kw_only=True)
class Locating:
    """On what, and how, the operators' sets are located.

    Attributes:
        options: of the arithmetic data specs; the task and the language are added.
        examples: examples of each of the two samples; None takes all.
        sigma: of the rule, for the papers' sets and for the contrastive ones.
        language_tasks: tasks that a language is made of. Plain direct generation has no words, so
            that it is the same in both languages and is left out there.
        seed: of data, random sets and bootstrap.
    """

    options: str
    examples: int | None
    sigma: int | float = 6
    language_tasks: tuple[str, ...] = ("dg", "mq", "tf")
    seed: int = 0

    def rules(self, resamples: int = 2) -> MapConfig:
        """Return the rules and the bootstrap, as the parts of a map take them."""
        shared = {"sigma": self.sigma, "dispersion": "std"}
        return MapConfig(
            preset="",
            raw_rule={**shared, "scope": "global", "sign": "both"},
            contrast_rule={**shared, "scope": "layer", "sign": "positive"},
            answers=(),
            erased_answers=(),
            resamples=resamples,
            seed=self.seed,
        )

    def ways(self, view: str) -> list[tuple[str, str]]:
        """Return the (task, language) pairs that a view is made of."""
        if view in TASKS:
            return [(TASKS[view], "en")]
        return [(task, LANGUAGES[view]) for task in self.language_tasks]


SMOKE = Locating(options="template=plain,max=12", examples=8, sigma=2, language_tasks=("mq",))
CPU = Locating(options="template=plain,shots=2,max=12", examples=30, language_tasks=("mq", "tf"))
PAPER = Locating(options="", examples=None)
"""Values of the presets. A random model has no neuron six deviations out, hence sigma 2 there; with
numbers up to 12 a half of the subtractions to learn from is 31 expressions, hence 30 examples."""


def spec_of(part: str, options: str, task: str = "dg", lang: str = "en", half: str = "") -> str:
    """Return the data spec of some operators.

    Args:
        part: of the arithmetic set: ``"add"``, ``"add-mul"``, ``"2op"``.
        options: further options of the spec.
        task: ``"dg"``, ``"mq"`` or ``"tf"``.
        lang: ``"en"`` or ``"zh"``.
        half: ``"1/2"`` or ``"2/2"`` for one of two disjoint samples.
    """
    told = [options] if options else []
    told += [] if task == "dg" else [f"task={task}"]
    told += [] if lang == "en" else [f"lang={lang}"]
    told += [f"part={half}"] if half else []
    return f"arithmetic/{part}" + (":" + ",".join(told) if told else "")


def operator_scores(
    bench: Workbench, locating: Locating, views: Sequence[str]
) -> dict[str, dict[str, NeuronScores]]:
    """Score every neuron for each operator.

    Returns:
        View -> operator -> scores of both samples, whose blocks take turns: ``scores.half(0)`` and
        ``scores.half(1)`` are those of each sample.
    """
    return {
        view: {
            operator: _pooled([_scores(bench, locating, operator, way) for way in ways])
            for operator in OPERATORS
        }
        for view in views
        for ways in [locating.ways(view)]
    }


def operator_sets(
    bench: Workbench, locating: Locating, view: str = "DG"
) -> dict[str, list[MapSet]]:
    """Select each operator's set of a view: rule ("raw", "contrast") -> sets in order."""
    found = select_sets({view: operator_scores(bench, locating, [view])[view]}, locating.rules())
    return {rule: [one for one in found if one.rule == rule] for rule in RULES.values()}


def by_operator(sets: Sequence[MapSet]) -> Mapping[str, NeuronSet]:
    """Return the whole set of each operator."""
    return {one.capability: one.neurons for one in sets}


def _scores(
    bench: Workbench, locating: Locating, operator: str, way: tuple[str, str]
) -> NeuronScores:
    specs = [spec_of(operator, locating.options, *way, half=half) for half in ("1/2", "2/2")]
    first, second = (
        bench.scores(Sample(spec, "train", locating.examples, locating.seed)) for spec in specs
    )
    return interleaved(first, second, {"data": specs, "group": operator})


def _pooled(parts: Sequence[NeuronScores]) -> NeuronScores:
    if len(parts) == 1:
        return parts[0]
    data = [spec for part in parts for spec in part.provenance["data"]]
    return pooled(parts, parts[0].provenance | {"data": data})
