"""Which rows are train, which are test, and which belong to one of several disjoint parts.

A row is placed by a seeded hash of its key (an expression, a prompt) and nothing else. So its
place depends on neither the machine, nor how many rows are asked for, nor the other rows; rows
with one key are never on two sides. Train and test must be loaded with one seed: another seed
is another split.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from brodmann.errors import DataError, UnknownNameError

T = TypeVar("T")
Split = Literal["all", "train", "test"]

SPLITS: tuple[Split, ...] = ("all", "train", "test")
TEST_EVERY = 5
"""One row of so many is a test row: the split is 80/20."""

_MAX_PARTS = 100


@dataclass(frozen=True)
class Subset:
    """The rows of one split, and of one of several disjoint parts of it.

    Attributes:
        split: ``"all"``, ``"train"`` or ``"test"``.
        seed: the seed of the split.
        part: which part, from 1.
        parts: how many disjoint parts there are; 1 means no division.
    """

    split: Split = "all"
    seed: int = 0
    part: int = 1
    parts: int = 1

    def holds(self, key: str) -> bool:
        """Tell whether the row with this key belongs to the subset."""
        if self.split != "all":
            is_test = keyed_hash(self.seed, "split", key) % TEST_EVERY == 0
            if is_test != (self.split == "test"):
                return False
        if self.parts == 1:
            return True
        return keyed_hash(self.seed, "part", key) % self.parts == self.part - 1

    def of(self, split: Split) -> "Subset":
        """Return the same part of another split."""
        return Subset(split, self.seed, self.part, self.parts)

    def __str__(self) -> str:
        part = f", part={self.part}/{self.parts}" if self.parts > 1 else ""
        return f"split={self.split}{part}"


def keyed_hash(seed: int, use: str, key: str) -> int:
    """Return a 64-bit hash of ``key`` that is the same on every machine and in every process."""
    text = f"{seed}\x00{use}\x00{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def keyed_random(*key: object) -> random.Random:
    """Return a random generator that depends on ``key`` alone (``hash()`` differs by process)."""
    return random.Random("\x00".join(str(word) for word in key))


def parse_split(text: str) -> Split:
    """Return the split called ``text``.

    Raises:
        UnknownNameError: when there is no such split.
    """
    for split in SPLITS:
        if text == split:
            return split
    raise UnknownNameError("split", text, SPLITS)


def parse_part(text: str) -> tuple[int, int]:
    """Return (part, parts) of ``"1/2"``.

    Raises:
        DataError: when it is not K/N with 1 <= K <= N <= 100.
    """
    words = text.split("/")
    if len(words) == 2 and all(word.isascii() and word.isdigit() for word in words):
        part, parts = int(words[0]), int(words[1])
        if 1 <= part <= parts <= _MAX_PARTS:
            return part, parts
    raise DataError(f"Expected part=K/N, such as part=1/2 (N up to {_MAX_PARTS}); got '{text}'.")


def first_shuffled(rows: Sequence[T], limit: int | None, seed: int, what: str) -> list[T]:
    """Return the first ``limit`` rows after a seeded shuffle; all, in their order, for None.

    Raises:
        DataError: when there are fewer rows than ``limit``.
    """
    if limit is None:
        return list(rows)
    if limit > len(rows):
        raise DataError(
            f"Expected a limit of at most {len(rows)}, the number of rows of {what}; got {limit}."
        )
    order = list(range(len(rows)))
    keyed_random(seed, "shuffle").shuffle(order)
    return [rows[index] for index in order[:limit]]
