"""`Registry`: names for methods, data sets, scorers; collisions raise, typos get a hint."""

from collections.abc import Callable
from typing import Generic, TypeVar

from brodmann.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind.

    Args:
        kind: what a name stands for, as it reads in an error (``"method"``).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under ``name`` and leaves it as it is.

        Raises:
            ValueError: when the name is taken.
        """

        def add(value: T) -> T:
            self.add(name, value)
            return value

        return add

    def add(self, name: str, value: T) -> None:
        """Add ``value`` under ``name``.

        Raises:
            ValueError: when the name is taken (a mistake in code, not in what a user gave).
        """
        if name in self._entries:
            raise ValueError(f"Expected a new {self.kind} name; '{name}' is registered already.")
        self._entries[name] = value

    def get(self, name: str) -> T:
        """Return what ``name`` stands for.

        Raises:
            UnknownNameError: when nothing has that name; the message lists the names that exist.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._entries) from None

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self.names())})"
