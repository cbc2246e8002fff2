"""cnl-figure-2: does an edit succeed at the layer that tracing finds, and where else?

The paper edits at every layer and finds them alike, so that success of an edit says nothing of
where a fact is. Here each fact is edited at every layer of the list and at the layer that tracing
finds for this very fact, from the clean model each time; beside whether the new answer wins stand
its margins, which tell layers apart where all edits succeed, and what happens to the neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from brodmann.data import Fact
from brodmann.errors import InputError
from brodmann.evaluate.editing import edit_scores
from brodmann.experiments.cells import Cell, only
from brodmann.experiments.claims import Judged, above, below
from brodmann.experiments.cnl.edit_cells import DIFFERENCE, RANKS, TRACED, edit_cells
from brodmann.experiments.cnl.fact_sample import FactConfig, chosen_facts, prompts_digest
from brodmann.experiments.cnl.fact_sets import strongest, traced_effects
from brodmann.experiments.cnl.fact_targets import editable, replaced
from brodmann.experiments.cnl.section_3_1 import MODELS, fact_rows
from brodmann.experiments.experiment import EXPERIMENTS, Experiment, Tables
from brodmann.experiments.partial import say
from brodmann.experiments.sample import Sample
from brodmann.experiments.workbench import Workbench
from brodmann.interventions.key_covariance import KeyCovariance, key_covariances
from brodmann.interventions.rome import rome_edit
from brodmann.interventions.rome_prefixes import sampled_prefixes

CLAIMS = {
    "anywhere": "Edits at other layers succeed nearly as often as at the layer that tracing finds, "
    "on the fact's own prompt: less than 0.1 less often (the paper: all layers are similar).",
    "traced": "Paraphrases follow an edit at the layer that tracing finds by a larger margin than "
    "edits at other layers: tracing tells where to edit.",
    "ranks": "Within a fact, the layers that restore more are those where paraphrases follow an "
    "edit by a larger margin: the ranks of layers agree.",
}


@dataclass(frozen=True, kw_only=True)
class Figure2(FactConfig):
    """Values of cnl-figure-2; those of :class:`FactConfig`, of tracing and of the edit.

    Attributes:
        every: every so many layers are edited, from the first; and each fact's traced layer.
        window: layers whose MLP outputs are restored together.
        draws: of the noise.
        corpus: data specs whose texts the keys' covariance is taken of.
        rows: examples of each.
        tokens: of the corpus, at most.
        edit_steps: evaluations of the loss of an edit.
        prefixes: texts in front of the prompt while the edit is found, the empty one among them.
    """

    every: int = 1
    window: int = 10
    draws: int = 10
    corpus: tuple[str, ...] = ("gsm8k", "tweeteval/sentiment", "goemotions", "codexglue")
    rows: int = 1000
    tokens: int = 100_000
    edit_steps: int = 25
    prefixes: int = 21

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 1:
            raise InputError(f"Expected every of 1 layer or more; got {self.every}.")


def run(config: Figure2, bench: Workbench) -> Tables:
    """Trace the facts, edit each of them at every layer, and score the edits."""
    sample = chosen_facts(config, bench)
    facts = editable(sample.facts, sample.pool)
    first = [replaced(fact) for fact in facts]
    effects = traced_effects(
        bench, first, window=config.window, draws=config.draws, seed=config.seed
    )
    layers = range(0, bench.model.n_layers, config.every)
    traced = [strongest(effect, 1)[0] for effect in effects]
    covariances = cache(lambda: _covariances(config, bench, sorted({*layers, *traced})))
    prefixes = cache(lambda: sampled_prefixes(bench.model, config.prefixes - 1, seed=config.seed))
    rows: list[dict[str, Any]] = []
    for fact, effect, own in zip(facts, effects, traced, strict=True):
        rows += [
            row | {"traced": row["layer"] == own, "effect": effect[row["layer"]]}
            for row in _edited(config, bench, fact, sorted({*layers, own}), covariances, prefixes)
        ]
    cells = [*sample.cells, *edit_cells(rows, list(layers))]
    return {"cells": cells, "edits": rows, "facts": fact_rows(sample)}


def judge(tables: Mapping[str, Sequence[Cell]], config: Figure2) -> list[Judged]:
    """Judge :data:`CLAIMS`."""
    cells = tables["cells"]

    def of(row: str, column: str) -> Cell | None:
        return only(cells, block=TRACED, row=row, column=column)

    return [
        below("anywhere", of(DIFFERENCE, "efficacy"), 0.1, "Success at the traced layer minus at "
              "others"),
        above("traced", of(DIFFERENCE, "paraphrase margin"), 0, "Margin of paraphrases at the "
              "traced layer minus at others, nats"),
        above("ranks", of(RANKS, "paraphrase margin"), 0, "Spearman's correlation over layers"),
    ]  # fmt: skip


def _edited(
    config: Figure2,
    bench: Workbench,
    fact: Fact,
    layers: Sequence[int],
    covariances: Callable[[], Mapping[int, KeyCovariance]],
    prefixes: Callable[[], Sequence[str]],
) -> list[dict[str, Any]]:
    """Edit one fact at each of some layers, each time from the clean model, and score it."""
    target = str(fact.target_new)
    about = {
        "edited": prompts_digest([fact]), "target": target, "neighbours": fact.neighbours,
        "steps": config.edit_steps, "prefixes": config.prefixes, "seed": config.seed,
        "corpus": [bench.digest(one) for one in _corpus(config)], "tokens": config.tokens,
    }  # fmt: skip

    def make(layer: int) -> dict[str, Any]:
        say(f"{bench.name}: editing {fact.id} at layer {layer}")
        edit = rome_edit(
            bench.model, fact, target, layer, covariances()[layer],
            steps=config.edit_steps, prefixes=prefixes(),
        )  # fmt: skip
        return edit_scores(bench.model, fact, target, edit)

    return [bench.piece(about | {"layer": one}, lambda one=one: make(one)) for one in layers]


def _covariances(
    config: Figure2, bench: Workbench, layers: Sequence[int]
) -> dict[int, KeyCovariance]:
    """Return the covariance of each layer's keys, from brodmann's cache if it is there."""
    texts = [
        example.prompt + example.delimiter + example.answer
        for sample in _corpus(config)
        for example in bench.examples(sample)
    ]
    return key_covariances(bench.model, texts, layers, max_tokens=config.tokens, progress=False)


def _corpus(config: Figure2) -> list[Sample]:
    return [Sample(spec, "train", config.rows, config.seed) for spec in config.corpus]


PRESETS = {
    "smoke": Figure2(
        facts="own",
        n_facts=2,
        prompts=2,
        known=False,
        every=2,
        window=1,
        draws=2,
        corpus=("gsm8k:source=sample",),
        rows=8,
        tokens=400,
        edit_steps=2,
        prefixes=2,
    ),
    "cpu": Figure2(
        facts="known_1000", n_facts=8, every=3, draws=5, rows=200, tokens=20_000, prefixes=5
    ),
    "paper": Figure2(n_facts=1000),
}
"""``cpu`` has a small corpus and few prefixes; the peer takes 100,000 articles and 21 prefixes."""

EXPERIMENTS.add(
    "cnl-figure-2",
    Experiment(
        id="cnl-figure-2",
        title="Success of edits at every layer",
        claims=CLAIMS,
        run=run,
        judge=judge,
        presets=PRESETS,
        models=MODELS,
        needs="facts",
    ),
)
