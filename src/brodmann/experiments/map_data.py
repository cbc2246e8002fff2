"""The examples of a map: two disjoint halves to locate with, and held-out items to test on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.data import DataSpec, Example, capability_specs, load_examples
from brodmann.data.capabilities import FAMILIES
from brodmann.errors import DataError
from brodmann.evaluate import neutral_texts
from brodmann.experiments.map_config import MapConfig

NEUTRAL_TEXTS = 32
"""Of a user's own neutral data so many texts are read."""

Halves = tuple[list[Example], list[Example]]


@dataclass(frozen=True)
class Variant:
    """One way to ask for all capabilities: a distribution of answers, or another task.

    Attributes:
        name: "free", "matched", or the view's name.
        specs: the data spec of each capability.
        halves: its two halves.
        how: "expressions": the halves share no expression (prompt); "contexts": they share
            expressions, behind other solved examples.
    """

    name: str
    specs: Mapping[str, str]
    halves: Mapping[str, Halves]
    how: str

    def rows(self) -> list[dict[str, Any]]:
        """Describe the variant, a row per capability."""
        return [
            {
                "variant": self.name,
                "capability": capability,
                "spec": self.specs[capability],
                "examples": [len(half) for half in halves],
                "independent": [len({key_of(e) for e in half}) for half in halves],
                "halves": self.how,
            }
            for capability, halves in self.halves.items()
        ]


@dataclass(frozen=True)
class MapData:
    """All examples of a map.

    Attributes:
        variants: what to locate on; the first is the main one.
        tests: the held-out items of each capability.
        test_rows: a row about the items of each capability.
        neutral: texts that no capability is in.
    """

    variants: Sequence[Variant]
    tests: Mapping[str, list[Example]]
    test_rows: Sequence[Mapping[str, Any]]
    neutral: Sequence[str]

    @property
    def capabilities(self) -> list[str]:
        """The capabilities, in order."""
        return list(self.tests)

    def rows(self) -> list[dict[str, Any]]:
        """Describe all data that was located on."""
        return [row for variant in self.variants for row in variant.rows()]


def load_data(config: MapConfig) -> MapData:
    """Load the examples of a map.

    Raises:
        InputError: when the data cannot be used, or is too small.
    """
    family = is_family(config.capabilities)
    options = dict(config.data) if family else {}
    wanted: dict[str, dict[str, Any]] = {}
    for name in config.answers if family else ("free",):
        wanted[name] = options | ({"answers": name} if name != "free" else {})
    for name, view in (config.views if family else {}).items():
        wanted[name] = options | dict(view)
    variants = [_variant(name, changes, config) for name, changes in wanted.items()]
    main = variants[0]
    tests = {
        capability: _up_to(spec, "test", config.test_items, config.seed)
        for capability, spec in main.specs.items()
    }
    test_rows = [_test_row(name, tests[name], main) for name in tests]
    return MapData(variants, tests, test_rows, _neutral(config))


def _neutral(config: MapConfig) -> Sequence[str]:
    if config.neutral is None:
        return neutral_texts()
    chosen = _up_to(config.neutral, "all", NEUTRAL_TEXTS, config.seed)
    return [example.prompt + example.delimiter + example.answer for example in chosen]


def is_family(capabilities: str) -> bool:
    """Tell whether the text names a family, and not the user's own capabilities."""
    return capabilities.partition(":")[0].strip() in FAMILIES


def key_of(example: Example) -> str:
    """Return what makes an example independent of others: its expression, or its prompt."""
    return str(example.meta.get("expression", example.prompt))


def _variant(name: str, options: Mapping[str, Any], config: MapConfig) -> Variant:
    specs = capability_specs(config.capabilities, **options)
    by_part = {label: _parts(spec, config) for label, spec in specs.items()}
    large = all(
        halves is not None and min(len({key_of(e) for e in h}) for h in halves) >= config.fewest
        for halves in by_part.values()
    )
    if large:
        return Variant(name, specs, {k: h for k, h in by_part.items() if h}, "expressions")
    halves = {label: _alternating(spec, config) for label, spec in specs.items()}
    return Variant(name, specs, halves, "contexts" if _share(halves) else "expressions")


def _parts(spec: str, config: MapConfig) -> Halves | None:
    """Load a half from each of two disjoint parts; None where a part holds nothing."""
    parsed = DataSpec.parse(spec)
    if "part" in parsed.options:
        return None
    halves = []
    for part in ("1/2", "2/2"):
        try:
            halves.append(
                _up_to(parsed.with_options(part=part), "train", config.examples, config.seed)
            )
        except DataError:
            return None
    return halves[0], halves[1]


def _alternating(spec: str, config: MapConfig) -> Halves:
    """Deal the rows of one pool to two halves in turn."""
    rows = _up_to(DataSpec.parse(spec), "train", 2 * config.examples, config.seed)
    if len(rows) < 4:
        raise DataError(
            f"Expected at least 4 examples to make two halves of '{spec}'; it has {len(rows)}."
        )
    even = len(rows) - len(rows) % 2
    return rows[0:even:2], rows[1:even:2]


def _up_to(spec: str | DataSpec, split: str, count: int, seed: int) -> list[Example]:
    """Load ``count`` examples, or all where there are fewer (data without repeats)."""
    try:
        return load_examples(spec, split, count, seed)
    except DataError:
        available = load_examples(spec, split, None, seed)
        if len(available) >= count:
            raise
        return load_examples(spec, split, len(available), seed)


def _share(halves: Mapping[str, Halves]) -> bool:
    return any(
        not {key_of(e) for e in first}.isdisjoint(key_of(e) for e in second)
        for first, second in halves.values()
    )


def _test_row(capability: str, items: list[Example], main: Variant) -> dict[str, Any]:
    located = {key_of(e) for half in main.halves[capability] for e in half}
    keys = {key_of(e) for e in items}
    return {
        "capability": capability,
        "spec": main.specs[capability],
        "items": len(items),
        "independent": len(keys),
        "seen_in_localisation": len(keys & located),
    }
