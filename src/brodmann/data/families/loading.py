"""From a set's raw rows to examples: prompts, splits, solved rows in front.

Rows without a text or an answer are left out, as are those that a set's summary excludes. A row
of the train part whose text is also in the test part is dropped from train. A release in one part
is divided 80/20 by the seeded hash of its texts, so the same row is on the same side whichever
source it comes from.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brodmann.data.example import Example
from brodmann.data.families.sources import OPTIONS as SOURCE_OPTIONS
from brodmann.data.families.sources import Source, find_source
from brodmann.data.families.task_set import TASK_SETS, Part, TaskSet
from brodmann.data.prompt_template import PromptTemplate
from brodmann.data.registry import DATASETS, NamedSet
from brodmann.data.rows import Row, frozen
from brodmann.data.spec import DataSpec
from brodmann.data.split import Split, Subset, first_shuffled, keyed_random
from brodmann.errors import DataError, UnknownNameError

OPTIONS = {
    "shots": "solved rows of the train split in front (default 0)",
    **SOURCE_OPTIONS,
}
"""The options of every set of a family, each with one line of help."""

MAX_SHOTS = 64

_MISSING = object()


@dataclass(frozen=True)
class Item:
    """A row that was read.

    Attributes:
        key: its text, which makes it the same question as another.
        prompt: the text in front of the answer.
        delimiter: the text between them.
        answer: the answer.
        values: its fields.
        where: what it is called in errors.
    """

    key: str
    prompt: str
    delimiter: str
    answer: str
    values: Mapping[str, Any]
    where: str

    @property
    def solved(self) -> str:
        """The question with its answer, as a solved row reads."""
        return self.prompt + self.delimiter + self.answer


def register(*tasks: TaskSet) -> None:
    """Add a set to :data:`TASK_SETS` and to the sets that a spec can call by name.

    Args:
        *tasks: the set; of a set with parts (``"tweeteval/emotion"``) all of them, the first of
            which is meant when a spec names none.
    """
    first = tasks[0]
    parts = {task.name.partition("/")[2]: task for task in tasks}
    TASK_SETS.update({task.name: task for task in tasks})

    def canonical_part(part: str) -> str:
        if part and part not in parts:
            raise UnknownNameError(f"part of '{name}'", part, filter(None, parts))
        return part or next(iter(parts))

    def load(spec: DataSpec, subset: Subset, limit: int | None) -> list[Example]:
        return load_task_set(parts[spec.part], spec, subset, limit)

    name = first.name.partition("/")[0]
    options = {**OPTIONS, **first.options}
    DATASETS.add(name, NamedSet(first.summary, options, load, canonical_part))


def load_task_set(
    task: TaskSet, spec: DataSpec, subset: Subset, limit: int | None
) -> list[Example]:
    """Load the examples of a set.

    Args:
        task: the set.
        spec: a spec that names it, with known option names.
        subset: the split and part.
        limit: the first so many after a seeded shuffle; None for all, in their order.

    Raises:
        UnknownNameError: for a source that does not exist.
        DataError: when there is no data, a row cannot be used, there are fewer examples than
            ``limit``, or fewer rows of the train split than ``shots`` needs.
        InputError: when the hub's library is missing.
        RunError: when the hub cannot be reached.
    """
    shots = _shots(spec)
    own = {name: text for name, text in spec.options.items() if name in task.options}
    rows = Splits(task, find_source(task, spec.options), own)
    held = rows.of(subset)
    if not held:
        raise DataError(
            f"Expected rows of {task.name} ({subset}) in {rows.source.where}; there are none."
        )
    chosen = first_shuffled(held, limit, subset.seed, f"{spec.head} ({subset})")
    pool = rows.of(subset.of("train")) if shots else []
    return [_example(task, item, _context(item, pool, shots, subset.seed)) for item in chosen]


class Splits:
    """The rows of a set by split, read once and only as far as they are asked for.

    Args:
        task: the set.
        source: its raw rows.
        own: the options that the set alone has, as given.
    """

    def __init__(self, task: TaskSet, source: Source, own: Mapping[str, str]) -> None:
        self.source = source
        self._task = task
        self._own = own
        self._template = PromptTemplate(task.template)
        self._read: dict[Part, list[Item]] = {}
        self._is_divided = "all" in source.parts or (task.is_divided and len(source.parts) == 1)

    def of(self, subset: Subset) -> list[Item]:
        """Return the rows of a split, and of one of several disjoint parts of it."""
        if self._task.place is not None:
            return self._of_parts(subset, self._placed())
        if self._is_divided:
            (part,) = self.source.parts
            return [item for item in self._items(part) if subset.holds(item.key)]
        return self._of_parts(subset, {})

    def _of_parts(self, subset: Subset, placed: dict[Split, list[Item]]) -> list[Item]:
        test = placed["test"] if placed else self._items("test")
        rows: list[Item] = []
        if subset.split != "test":
            seen = {item.key for item in test}
            train = placed["train"] if placed else self._items("train")
            rows += [item for item in train if item.key not in seen]
        if subset.split != "train":
            rows += test
        whole = subset.of("all")
        return [item for item in rows if whole.holds(item.key)]

    def _placed(self) -> dict[Split, list[Item]]:
        """Return all rows by the official list of ids."""
        placed: dict[Split, list[Item]] = {"train": [], "test": []}
        assert self._task.place is not None
        for part in self.source.parts:
            for item in self._items(part):
                placed[self._task.place(item.values)].append(item)
        return placed

    def _items(self, part: Part) -> list[Item]:
        if part not in self._read:
            rows = self.source.parts[part]() if part in self.source.parts else []
            items = [self._item(row, f"{part}-{n}") for n, row in enumerate(rows)]
            self._read[part] = [item for item in items if item is not None]
        return self._read[part]

    def _item(self, row: Row, name: str) -> Item | None:
        task = self._task
        values = {"id": name, **_columns(row, task), **self._own}
        fields = task.fields(values, row.where)
        answer = "" if fields is None or fields["answer"] is None else str(fields["answer"])
        answer = answer.rstrip()
        if fields is None or not answer:
            return None
        key = "\n".join(str(fields[column]).strip() for column in task.key)
        prompt = self._template.render(fields, row.where)
        space = answer[: len(answer) - len(answer.lstrip())]
        delimiter = task.delimiter + space
        return Item(key, prompt, delimiter, answer.lstrip(), fields, row.where) if key else None


def _columns(row: Row, task: TaskSet) -> dict[str, Any]:
    """Return the fields of a row, whatever its source calls them."""
    found = {}
    for field, names in (*task.columns.items(), *task.optional.items()):
        value = next((row.values[name] for name in names if name in row.values), _MISSING)
        if value is _MISSING and field in task.columns:
            raise DataError(
                f"Expected a column {' or '.join(names)} in {row.where} for {task.name}; its "
                f"columns are {', '.join(map(str, row.values))}."
            )
        if value is not _MISSING and value is not None:
            found[field] = value.replace("\r\n", "\n") if isinstance(value, str) else value
        elif field != "id":
            found[field] = ""
    return found


def _shots(spec: DataSpec) -> int:
    text = spec.options.get("shots", "0")
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > MAX_SHOTS:
        raise DataError(f"Expected shots= from 0 to {MAX_SHOTS}; got '{text}' in '{spec}'.")
    return int(text)


def _context(item: Item, pool: Sequence[Item], shots: int, seed: int) -> str:
    """Return the solved rows in front of a question: drawn anew for each, never the question."""
    if not shots:
        return ""
    rng = keyed_random(seed, "shots", shots, item.key)
    order = rng.sample(range(len(pool)), min(len(pool), 2 * MAX_SHOTS))
    others: dict[str, Item] = {}
    for index in order:
        if pool[index].key != item.key and len(others) < shots:
            others.setdefault(pool[index].key, pool[index])
    if len(others) < shots:
        raise DataError(
            f"Expected {shots} other rows of the train split for shots={shots}; there are "
            f"{len(others)} beside {item.where}. Lower shots=."
        )
    return "".join(f"{other.solved}\n\n" for other in others.values())


def _example(task: TaskSet, item: Item, context: str) -> Example:
    meta = {
        "scorer": task.scorer,
        "family": task.family,
        "set": task.name,
        "id": str(item.values["id"]),
    }
    if item.values.get("origin"):
        meta["origin"] = str(item.values["origin"])
    if task.tests is not None:
        meta["code"] = frozen(task.tests(item.values, item.where))
    return Example(context + item.prompt, item.answer, item.delimiter, task.choices, meta)
