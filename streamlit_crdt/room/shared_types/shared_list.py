"""A shared list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from operator import index as as_index
from typing import Any, Self, TypeVar, overload

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.merge import RULES, Rule
from streamlit_crdt.room.shared_types.live_values import live_item
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer

Returned = TypeVar("Returned")


class SharedList(SharedType[list[Any]], MutableSequence[Any]):
    """A list that merges by item. Concurrent inserts are all kept, in the same order for all participants.

    A list of dicts is stored as records, unless `merge=` names "list" for its key: each item keeps its identity, and
    its fields merge one by one. Reading an item returns a live dict, list or set: its changes are shared, too.
    """

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["list"], list)

    # -- reading -------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        def read(editor: Any) -> list[tuple[Any, Any, int]]:
            places = range(len(editor))[index if isinstance(index, slice) else as_index(index)]
            parts = editor.parts() if isinstance(index, slice) else None
            return [
                (editor.item(place), editor.part(place) if parts is None else parts[place], place)
                for place in (places if isinstance(places, range) else [places])
            ]

        items = [self._live(*found) for found in self._inspect(read)]
        return items if isinstance(index, slice) else items[0]

    def __len__(self) -> int:
        return self._inspect(len)

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __contains__(self, value: object) -> bool:
        return value in self._read()

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> list[Any]:
        """Return a plain list, whose changes are not shared."""
        return self._read()

    def _live(self, value: Any, part: Any, index: int) -> Any:
        """Return an item. A change of a container in it is written to the room."""
        return live_item(self.key, value, self._operate, part, index)

    # -- writing -------------------------------------------------------------------------------------------------

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            values = [plain(item) for item in value]
            self._rewrite(lambda items: items.__setitem__(index, values), values)
        else:
            place, item = as_index(index), plain(value)
            self._operate(lambda editor: editor.set_item(place, item), [item])

    def __delitem__(self, index: int | slice) -> None:
        def delete(editor: Any) -> None:
            places = range(len(editor))[index if isinstance(index, slice) else as_index(index)]
            if isinstance(places, int):
                places = range(places, places + 1)
            editor.delete(places[::-1] if places.step < 0 else places)

        self._operate(delete)

    def __iadd__(self, values: Iterable[Any]) -> Self:
        self.extend(values)
        return self

    def insert(self, index: int, value: Any) -> None:
        """Insert an item before `index`. An index out of range means the nearest end."""
        place, item = as_index(index), plain(value)
        self._operate(lambda editor: editor.insert(place, [item]), [item])

    def append(self, value: Any) -> None:
        """Append an item. Items that several people append are all kept."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Append several items, as one edit."""
        more = [plain(value) for value in values]
        self._operate(lambda editor: editor.insert(len(editor), more), more)

    def pop(self, index: int = -1) -> Any:
        """Remove the item at `index` and return it.

        Raises:
            IndexError: the list has no such item.
        """
        place = as_index(index)

        def pop(editor: Any) -> Any:
            item = editor.item(place)
            found = range(len(editor))[place]
            editor.delete(range(found, found + 1))
            return item

        return self._operate(pop)

    def remove(self, value: Any) -> None:
        """Remove the first item that equals `value`. Its search takes time in proportion to the list.

        Raises:
            ValueError: no item equals `value`.
        """

        def remove(editor: Any) -> None:
            found = editor.find(value)
            editor.delete(range(found, found + 1))

        self._operate(remove)

    def reverse(self) -> None:
        """Reverse the order of the items."""
        self._rewrite(lambda items: items.reverse())

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort the items, as `list.sort` does."""
        self._rewrite(lambda items: items.sort(key=key, reverse=reverse))

    def clear(self) -> None:
        """Remove all items."""
        self._operate(lambda editor: editor.delete(range(len(editor))))

    # -- rules ---------------------------------------------------------------------------------------------------

    def _inspect(self, read: Callable[[Any], Returned]) -> Returned:
        stored = RULES["records"] if self._is_records() else self._rule
        return self._writer.replica.inspect(self.key, stored, [], read)

    def _operate(self, operation: Callable[[Any], Returned], added: Sequence[Any] = ()) -> Returned:
        return self._writer.operate(self.key, self._rule_to_edit(added), [], operation)

    def _rewrite(self, change: Callable[[list[Any]], None], added: Sequence[Any] = ()) -> None:
        """Apply `change`, which modifies the whole list in place. Only the difference is written."""

        def rewritten(items: list[Any]) -> list[Any]:
            change(items)
            return items

        self._change(self._rule_to_edit(added), rewritten)

    def _is_records(self) -> bool:
        return self._writer.replica.rule_name(self.key) == "records"

    def _rule_to_edit(self, added: Sequence[Any]) -> Rule:
        """Return the rule of the next edit. A list of dicts becomes records with its first edit."""
        records = self._writer.rule(self.key, [{}])
        if self._is_records():
            return records if records is not None and records.name == "records" else RULES["records"]
        is_candidate = (
            records is not None and records.name == "records" and all(type(item) is dict for item in added)
        )
        if records is None or not is_candidate or not self._has_only_dicts(has_added=bool(added)):
            return self._rule
        return records

    def _has_only_dicts(self, *, has_added: bool) -> bool:
        """Return whether all items are dicts. An empty list has only dicts if some are added."""

        return self._inspect(lambda editor: editor.has_only_dicts and (has_added or len(editor) > 0))
