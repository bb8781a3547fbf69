"""`room.set(key)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSet
from typing import Any

from streamlit_crdt.shared.view import View


class SharedSet(View[set[Any]], MutableSet[Any]):
    """A set in which what one adds stays, whatever others remove at the same moment.

    A multi-select widget's key is one too: its value is a list there and a set here.
    """

    _rule_name = "set"

    def _empty(self) -> set[Any]:
        return set()

    @classmethod
    def _from_iterable(cls, items: Any) -> Any:
        return set(items)  # what `&`, `|` and `-` return is no part of the room

    def _read(self) -> set[Any]:
        return set(super()._read())

    def _alter(self, change: Callable[[set[Any]], set[Any]]) -> None:
        self._change(lambda items: type(items)(change(set(items))))

    def __contains__(self, item: object) -> bool:
        return item in self._read()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def add(self, item: Any) -> None:
        self._alter(lambda items: items | {item})

    def discard(self, item: Any) -> None:
        self._alter(lambda items: items - {item})

    def update(self, *others: Any) -> None:
        new = set().union(*others)
        self._alter(lambda items: items | new)

    def clear(self) -> None:
        self._alter(lambda items: set())
