"""`load_examples`: any data spec to a list of examples."""

import brodmann.data.arithmetic
import brodmann.data.decoupling
import brodmann.data.families  # noqa: F401 (registers its sets)
from brodmann.data import hub, jsonl
from brodmann.data.example import Example
from brodmann.data.registry import DATASETS
from brodmann.data.spec import DataSpec, path_exists
from brodmann.data.split import Subset, parse_part, parse_split
from brodmann.errors import DataError

COMMON_OPTIONS = {
    "split": "all|train|test: takes the place of the split asked for elsewhere",
    "part": "K/N: one of N disjoint parts, by a seeded hash",
}
"""Options that every spec has, each with one line of help."""


def load_examples(
    spec: str | DataSpec, split: str = "all", limit: int | None = None, seed: int = 0
) -> list[Example]:
    """Load the examples that a data spec names.

    Args:
        spec: ``NAME[/PART][:key=value,...]``, a JSONL file, a folder with train.jsonl and
            test.jsonl, or ``hub:ORG/NAME``. Two options work everywhere: ``part=1/2`` takes one
            of two disjoint parts of the split, and ``split=`` wins over the argument.
        split: ``"train"`` and ``"test"`` share no expression (arithmetic) and no prompt (a
            file), as long as both are loaded with one seed; ``"all"`` is both.
        limit: the first so many after a seeded shuffle. None: every row in its order, or the
            paper's number of arithmetic examples.
        seed: decides the split and all drawing.

    Raises:
        UnknownNameError: when there is no such set, option or split.
        DataError: when the spec, the file or a row cannot be used, or ``limit`` is larger than
            what there is.
    """
    if limit is not None and limit < 1:
        raise DataError(f"Expected a limit of at least 1, or none; got {limit}.")
    spec = canonical_spec(spec)
    subset = Subset(
        parse_split(spec.options.get("split", split)),
        seed,
        *parse_part(spec.options.get("part", "1/1")),
    )
    inner = spec.without(*COMMON_OPTIONS)
    if inner.kind == "path":
        return jsonl.load_path(inner, subset, limit)
    if inner.kind == "hub":
        return hub.load_hub(inner, subset, limit)
    return DATASETS.get(inner.name).load(inner, subset, limit)


def canonical_spec(spec: str | DataSpec) -> DataSpec:
    """Return the spec with the names of its set, part and options checked and spelled one way.

    Raises:
        UnknownNameError: when there is no such set or option.
        DataError: when the text does not follow the grammar, a file is missing, or the part is
            not one of the set.
    """
    spec = DataSpec.parse(spec)
    if spec.kind == "path":
        if not path_exists(spec.name):
            raise DataError(f"Expected a JSONL file or folder at {spec.name}; there is none.")
        spec.check_options([*COMMON_OPTIONS, *jsonl.OPTIONS])
        return spec
    if spec.kind == "hub":
        spec.check_options([*COMMON_OPTIONS, *hub.OPTIONS])
        return spec
    named = DATASETS.get(spec.name)
    spec.check_options([*COMMON_OPTIONS, *named.options])
    return DataSpec(spec.name, named.canonical_part(spec.part), spec.options)
