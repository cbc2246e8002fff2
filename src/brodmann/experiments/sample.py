"""`Sample`: which examples, in words that a key can be made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Examples of one data spec.

    Attributes:
        spec: the data spec; two disjoint samples are its ``part=1/2`` and ``part=2/2``.
        split: ``"train"`` or ``"test"``, which are disjoint, or ``"all"``.
        limit: how many; None takes all.
        seed: of the split and the shuffle.
    """

    spec: str
    split: str = "train"
    limit: int | None = None
    seed: int = 0
