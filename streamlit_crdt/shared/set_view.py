"""`room.set(key)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSet, Set
from typing import Any, Self

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

    def remove(self, item: Any) -> None:
        """Take out `item`; raises KeyError if it is not there."""
        self._take(lambda items: items.remove(item))

    def pop(self) -> Any:
        return self._take(lambda items: items.pop())

    def __ior__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        self.update(others)
        return self

    def __iand__(self, others: Set[Any]) -> Self:
        kept = set(others)
        self._alter(lambda items: items & kept)
        return self

    def __isub__(self, others: Set[Any]) -> Self:
        gone = set(others)
        self._alter(lambda items: items - gone)
        return self

    def __ixor__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        turned = set(others)
        self._alter(lambda items: items ^ turned)
        return self

    def _take(self, change: Callable[[set[Any]], Any]) -> Any:
        """Have `change` alter the set in place, as one edit, and return what it returns."""
        returned: list[Any] = []

        def alter(items: set[Any]) -> set[Any]:
            returned.append(change(items))
            return items

        self._alter(alter)
        return returned[0]

    def update(self, *others: Any) -> None:
        new = set().union(*others)
        self._alter(lambda items: items | new)

    def clear(self) -> None:
        self._alter(lambda items: set())
