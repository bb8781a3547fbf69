"""A shared set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Set
from typing import Any, Self

from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.editors import SetEditor
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


class SharedSet(SharedType[set[Any]], MutableSet[Any]):
    """A set in which an addition wins over a concurrent removal.

    The key of a multi-select widget is a set, too: its value is a list in the widget and a set here.
    """

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["set"], set)

    @classmethod
    def _from_iterable(cls, items: Any) -> Any:
        return set(items)  # the results of `&`, `|` and `-` are not shared

    def _read(self) -> set[Any]:
        return set(super()._read())

    def __contains__(self, item: object) -> bool:
        hash(item)
        return self._inspect(lambda editor: item in editor)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __len__(self) -> int:
        return self._inspect(len)

    def add(self, item: Any) -> None:
        """Add an item."""
        self.update([item])

    def update(self, *others: Iterable[Any]) -> None:
        """Add the items of several iterables, as one edit."""
        new = set[Any]().union(*others)

        def update(editor: SetEditor) -> None:
            for item in new:
                editor.add(item)

        self._operate(update)

    def discard(self, item: Any) -> None:
        """Remove an item if the set contains it."""
        self.difference_update([item])

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the items of several iterables, as one edit."""
        removed = set[Any]().union(*others)

        def update(editor: SetEditor) -> None:
            for item in removed:
                editor.discard(item)

        self._operate(update)

    def remove(self, item: Any) -> None:
        """Remove an item.

        Raises:
            KeyError: the set does not contain `item`.
        """
        hash(item)

        def remove(editor: SetEditor) -> None:
            if not editor.discard(item):
                raise KeyError(item)

        self._operate(remove)

    def pop(self) -> Any:
        """Remove an item, any one, and return it.

        Raises:
            KeyError: the set is empty.
        """

        def pop(editor: SetEditor) -> Any:
            for item in editor.items():
                editor.discard(item)
                return item
            raise KeyError("pop from an empty set")

        return self._operate(pop)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Remove the items that are not in all of the iterables, as one edit."""
        kept = [set(other) for other in others]

        def update(editor: SetEditor) -> None:
            for item in list(editor.items()):
                if not all(item in items for items in kept):
                    editor.discard(item)

        self._operate(update)

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Remove the items that the iterable has too, and add its others, as one edit."""
        values = set(other)

        def update(editor: SetEditor) -> None:
            for item in values:
                if not editor.discard(item):
                    editor.add(item)

        self._operate(update)

    def clear(self) -> None:
        """Remove all items."""
        self.intersection_update(())

    def __ior__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        self.update(others)
        return self

    def __iand__(self, others: Set[Any]) -> Self:
        self.intersection_update(others)
        return self

    def __isub__(self, others: Set[Any]) -> Self:
        self.difference_update(others)
        return self

    def __ixor__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        self.symmetric_difference_update(others)
        return self
