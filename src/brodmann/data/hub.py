"""Data sets on the Hugging Face Hub: ``hub:ORG/NAME[@REV][:config=,prompt=,answer=,...]``.

The set's own splits are used: ``train`` and ``test``, or those that the options ``train=`` and
``test=`` name (``test=validation``). A set with one split only is divided like a single file,
80/20 by a seeded hash of the prompt. Class labels become their names, and the choices. Code from
the hub is never run.
"""

from collections.abc import Iterable
from typing import Any

from brodmann.data import rows
from brodmann.data.example import Example
from brodmann.data.rows import Row, RowReader
from brodmann.data.spec import DataSpec
from brodmann.data.split import Subset, first_shuffled
from brodmann.errors import BrodmannError, DataError, InputError, RunError

OPTIONS = {
    "config": "the configuration of the set, where it has several",
    "train": "the set's split that is train here (default train)",
    "test": "the set's split that is test here (default test)",
    **rows.OPTIONS,
}
"""The options of a hub set, each with one line of help."""


def load_hub(spec: DataSpec, subset: Subset, limit: int | None) -> list[Example]:
    """Load a data set from the Hugging Face Hub, or from its local cache.

    Args:
        spec: a spec of the kind ``"hub"``.
        subset: the split and part.
        limit: the first so many after a seeded shuffle; None for all, in their order.

    Raises:
        InputError: when the ``datasets`` library is missing.
        DataError: when there is no such set, split or column, or a row cannot be used.
        RunError: when the hub cannot be reached.
    """
    reader = RowReader(spec)
    sets, what = downloaded(spec), f"{spec.head} ({subset})"
    names, subset = _splits(spec, list(sets), subset)
    examples = reader.read([row for name in names for row in split_rows(sets[name], name, spec)])
    held = [example for example in examples if subset.holds(example.prompt)]
    if not held:
        raise DataError(f"Expected rows in {what}; there are none.")
    return first_shuffled(held, limit, subset.seed, what)


def downloaded(spec: DataSpec) -> dict[str, Any]:
    """Return the splits of a set by name.

    Raises:
        InputError: when the ``datasets`` library is missing.
        DataError: when there is no such set.
        RunError: when the hub cannot be reached.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            "Expected the library 'datasets' for hub: data; it is not installed. "
            "Run: pip install 'brodmann[datasets]'"
        ) from None
    name, _, revision = spec.name.partition("@")
    try:
        found = datasets.load_dataset(name, spec.options.get("config"), revision=revision or None)
    except Exception as error:  # the library raises many kinds, and the hub's client more
        raise _explained(error, spec) from error
    return {str(split): found[split] for split in found}


def _explained(error: Exception, spec: DataSpec) -> BrodmannError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    # Requests' and httpx' connection errors do not all derive from the built-in one.
    is_network = isinstance(error, ConnectionError | TimeoutError) or any(
        word in type(error).__name__ for word in ("Connect", "Timeout", "Offline", "LocalEntry")
    )
    if is_network:
        return RunError(
            f"The hub could not be reached for {spec.head}: {reason} "
            "Check the network, or give a local file or folder."
        )
    return DataError(f"Expected a data set on the hub; {spec.head} cannot be loaded: {reason}")


def _splits(spec: DataSpec, there: list[str], subset: Subset) -> tuple[list[str], Subset]:
    """Return the set's splits to read, and which of their rows to keep."""
    named = {split: spec.options.get(split, split) for split in ("train", "test")}
    for split in named:
        if split in spec.options and named[split] not in there:
            raise DataError(
                f"Expected {split}= one of {spec.head}'s splits {', '.join(there)}; "
                f"got '{named[split]}'."
            )
    if len(there) == 1 and not named.keys() & spec.options.keys():
        return there, subset
    wanted = list(named.values()) if subset.split == "all" else [named[subset.split]]
    names = [name for name in dict.fromkeys(wanted) if name in there]
    if not names:
        raise DataError(
            f"Expected a split '{wanted[0]}' in {spec.head}; it has {', '.join(there)}. "
            f"Name one with {subset.split if subset.split != 'all' else 'test'}=."
        )
    return names, subset.of("all")


def split_rows(dataset: Any, split: str, spec: DataSpec) -> Iterable[Row]:
    """Yield the rows of one split, with the names of class labels for their numbers.

    Raises:
        DataError: for a row without a label.
    """
    labels = {
        column: feature.names
        for column, feature in dataset.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    answer = spec.options.get("answer", "answer")
    for number, values in enumerate(dataset):
        where = f"row {number} of {spec.head}, split {split}"
        named = {key: _named(value, labels.get(key), where) for key, value in values.items()}
        if answer in labels and "choices" not in spec.options:
            named["choices"] = list(labels[answer])
        yield Row(named, where)


def _named(value: Any, names: list[str] | None, where: str) -> Any:
    """Return a class label's name; any other value as it is."""
    if names is None:
        return value
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise DataError(f"Expected a class label in {where}; got {value} (a split without labels).")
    return names[value]
