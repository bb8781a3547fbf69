"""A shared list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from operator import index as as_index
from typing import Any, Self, overload

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.editors import ListEditor
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


class SharedList(SharedType[list[Any]], MutableSequence[Any]):
    """A list that merges by item. Concurrent inserts are all kept, in the same order for all participants."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["list"], list)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            place = as_index(index)
            return self._inspect(lambda editor: editor.item(place))
        return self._inspect(lambda editor: [editor.item(i) for i in range(len(editor))[index]])

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            values = list(value)
            self._mutate(lambda items: items.__setitem__(index, values))
        else:
            place = as_index(index)
            self._operate(lambda editor: editor.set_item(place, value))

    def __delitem__(self, index: int | slice) -> None:
        def delete(editor: ListEditor) -> None:
            places = range(len(editor))[index]
            if isinstance(places, int):
                places = range(places, places + 1)
            editor.delete(places[::-1] if places.step < 0 else places)

        self._operate(delete)

    def __len__(self) -> int:
        return self._inspect(len)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, values: Iterable[Any]) -> Self:
        self.extend(values)
        return self

    def insert(self, index: int, value: Any) -> None:
        """Insert an item before `index`. An index out of range means the nearest end."""
        place = as_index(index)
        self._operate(lambda editor: editor.insert(place, [value]))

    def append(self, value: Any) -> None:
        """Append an item. Items that several people append are all kept."""
        self._operate(lambda editor: editor.insert(len(editor), [value]))

    def extend(self, values: Iterable[Any]) -> None:
        """Append several items, as one edit."""
        more = list(values)
        self._operate(lambda editor: editor.insert(len(editor), more))

    def pop(self, index: int = -1) -> Any:
        """Remove the item at `index` and return it.

        Raises:
            IndexError: the list has no such item.
        """
        place = as_index(index)

        def pop(editor: ListEditor) -> Any:
            item = editor.item(place)
            found = range(len(editor))[place]
            editor.delete(range(found, found + 1))
            return item

        return self._operate(pop)

    def remove(self, value: Any) -> None:
        """Remove the first item that equals `value`.

        Raises:
            ValueError: no item equals `value`.
        """

        def remove(editor: ListEditor) -> None:
            found = editor.find(value)
            editor.delete(range(found, found + 1))

        self._operate(remove)

    def reverse(self) -> None:
        """Reverse the order of the items."""
        self._mutate(lambda items: items.reverse())

    def clear(self) -> None:
        """Remove all items."""
        self._operate(lambda editor: editor.delete(range(len(editor))))
