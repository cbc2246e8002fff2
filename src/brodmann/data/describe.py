"""`describe`: what a data spec holds, in numbers and samples; `named_sets`: what there is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.data.example import Example
from brodmann.data.families import TASK_SETS
from brodmann.data.load import canonical_spec, load_examples
from brodmann.data.registry import DATASETS
from brodmann.data.spec import DataSpec
from brodmann.errors import DataError

_COMMONEST = 5


@dataclass(frozen=True)
class Description:
    """What a data spec holds.

    Attributes:
        spec: the spec, spelled canonically.
        splits: one row per split, of JSON types (see :func:`split_row`).
        samples: the first examples of each split: split, prompt, delimiter, answer, choices.
    """

    spec: str
    splits: list[dict[str, Any]]
    samples: list[dict[str, Any]]


def describe(
    spec: str | DataSpec, limit: int | None = None, seed: int = 0, samples: int = 3
) -> Description:
    """Count and sample what a data spec holds, for each split.

    A split that the data does not have (a folder without train.jsonl), or that has fewer than
    ``limit`` examples, has no row.

    Args:
        spec: the data spec. Its option ``split=``, if it has one, leaves only that split.
        limit: as in :func:`load_examples`, for each split.
        seed: as in :func:`load_examples`.
        samples: how many examples of each split to show.

    Raises:
        InputError: whatever :func:`load_examples` raises for the data as a whole.
    """
    spec = canonical_spec(spec)
    if "split" in spec.options:
        loaded = {spec.options["split"]: load_examples(spec, limit=limit, seed=seed)}
    else:
        loaded = {"all": load_examples(spec, "all", limit, seed)}
        for split in ("train", "test"):
            try:
                loaded[split] = load_examples(spec, split, limit, seed)
            except DataError:
                continue
    return Description(
        str(spec),
        [split_row(split, examples) for split, examples in loaded.items()],
        [
            _sample(split, example)
            for split, examples in loaded.items()
            for example in examples[:samples]
        ],
    )


def named_sets() -> list[dict[str, Any]]:
    """Return a row about each set that a spec can call by name, of JSON types.

    ``chance`` is the accuracy of guessing among the choices, 0 for free answers, and None where
    the spec decides it.
    """
    rows = [
        {
            "set": task.name,
            "family": task.family,
            "scorer": task.scorer,
            "chance": task.chance,
            "hub": task.hub.name,
            "summary": task.summary,
        }
        for task in TASK_SETS.values()
    ]
    in_families = {str(row["set"]).partition("/")[0] for row in rows}
    others = [name for name in DATASETS.names() if name not in in_families]
    empty = {"family": "", "scorer": "", "chance": None, "hub": ""}
    own = [{"set": name, **empty, "summary": DATASETS.get(name).summary} for name in others]
    return own + sorted(rows, key=lambda row: ("math", "program", "language").index(row["family"]))


def split_row(split: str, examples: Sequence[Example]) -> dict[str, Any]:
    """Return a row about the examples of one split.

    ``expressions`` counts independent examples: distinct expressions, or prompts where there
    are none. ``operators`` maps each operator to how often it occurs. ``chance`` is the accuracy
    of a uniform guess among the choices (0 for open answers), ``majority`` that of always giving
    the commonest answer.
    """
    answers = Counter(example.answer for example in examples)
    values = [value for e in examples if isinstance(value := e.meta.get("value"), int)]
    return {
        "split": split,
        "rows": len(examples),
        "expressions": len({e.meta.get("expression", e.prompt) for e in examples}),
        "capabilities": dict(Counter(str(e.meta["capability"]) for e in _with(examples))),
        "operators": dict(Counter(o for e in examples for o in e.meta.get("operators", ()))),
        "answers": len(answers),
        "commonest": [list(pair) for pair in answers.most_common(_COMMONEST)],
        "smallest_value": min(values, default=None),
        "largest_value": max(values, default=None),
        "scorer": ", ".join(sorted({str(e.meta.get("scorer", "text")) for e in examples})),
        "chance": sum(1 / len(e.choices) for e in examples if e.choices) / len(examples),
        "majority": answers.most_common(1)[0][1] / len(examples),
    }


def _with(examples: Sequence[Example], key: str = "capability") -> list[Example]:
    return [example for example in examples if key in example.meta]


def _sample(split: str, example: Example) -> dict[str, Any]:
    return {
        "split": split,
        "prompt": example.prompt,
        "delimiter": example.delimiter,
        "answer": example.answer,
        "choices": list(example.choices),
    }
