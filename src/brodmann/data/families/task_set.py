"""`TaskSet`: all that is known about one named data set, in one place.

A set has one way from a row to an example, whatever the row comes from: the hub, the files of the
official release, rows of the hub in a local file, or the sample rows that are shipped. A source
gives raw columns; `columns` names them, `fields` makes the answer and the texts of the template.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from brodmann.data.rows import Row

Part = Literal["train", "test", "all"]
Values = Mapping[str, Any]
Reader = Callable[[Path], list[Row]]
Fields = Callable[[Values, str], Values | None]
"""(columns, where) to the texts of the template and ``answer``; None leaves the row out."""


@dataclass(frozen=True)
class HubSource:
    """Where a set is on the Hugging Face Hub.

    Attributes:
        name: ``ORG/NAME`` or ``ORG/NAME@REVISION``.
        config: the configuration, where it has several.
        train: its splits that are train here.
        test: its splits that are test here.
    """

    name: str
    config: str = ""
    train: tuple[str, ...] = ("train",)
    test: tuple[str, ...] = ("test",)


@dataclass(frozen=True)
class Files:
    """One way in which the files of a release are laid out.

    Attributes:
        read: reads one file.
        train: patterns of the files of the train part; the first that matches something counts.
        test: those of the test part.
        whole: those of a release in one part.
    """

    read: Reader
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    def found_in(self, folder: Path) -> dict[Part, list[Path]]:
        """Return the files that are there, by part."""
        parts: dict[Part, tuple[str, ...]] = {
            "train": self.train,
            "test": self.test,
            "all": self.whole,
        }
        found = {part: _first_match(folder, patterns) for part, patterns in parts.items()}
        return {part: paths for part, paths in found.items() if paths}

    def __str__(self) -> str:
        return " and ".join(names[0] for names in (self.train, self.test, self.whole) if names)


@dataclass(frozen=True)
class TaskSet:
    r"""A named data set, declared.

    Attributes:
        name: its name, ``"gsm8k"``; of one part of a set ``"tweeteval/emotion"``.
        family: ``"math"``, ``"program"`` or ``"language"``.
        summary: one line about it.
        licence: what its authors or its page on the hub say; a note, not advice.
        hub: where it is on the hub.
        files: the layouts of its official release; the first that is found counts.
        folders: names of its folder beside its own name.
        columns: each field and the columns it may stand in; the first that a row has counts.
        optional: fields that a row may lack (they are then empty text), in the same form. Its
            ``origin`` is the question of another set that a row was rewritten from.
        fields: makes the texts of the template and the ``answer``.
        template: the prompt, with ``{field}``.
        scorer: how answers are scored.
        choices: the answers of a closed question, where all rows have the same.
        delimiter: the text between prompt and answer.
        key: the fields whose text makes a row the same question as another.
        is_divided: whether the release has one part only, which is divided 80/20.
        place: the part of a row, where an official list of ids says it.
        tests: the tests of a program, as ``meta["code"]``.
        options: options of this set alone, each with one line of help.
    """

    name: str
    family: Literal["math", "program", "language"]
    summary: str
    licence: str
    hub: HubSource
    files: tuple[Files, ...]
    columns: Mapping[str, tuple[str, ...]]
    fields: Fields
    template: str
    scorer: str
    key: tuple[str, ...]
    folders: tuple[str, ...] = ()
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    delimiter: str = " "
    is_divided: bool = False
    place: Callable[[Values], Part] | None = None
    tests: Callable[[Values, str], Values] | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """The accuracy of a uniform guess among the choices; 0 for free answers."""
        return 1 / len(self.choices) if self.choices else 0.0


TASK_SETS: dict[str, TaskSet] = {}
"""Every declared set by its name, in the order of the families."""


def _first_match(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found
    return []
