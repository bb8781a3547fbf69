"""Live dicts, lists and sets: containers inside of a shared value, which write their changes through to the room.

Reading does not differ from a plain dict, list or set. A change is the difference between the container that the
program saw and the container that it made of it, as in `st.session_state`. It merges with changes of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, SupportsIndex, TypeVar, cast

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.live_values import LiveValue, plain
from streamlit_crdt.codec.values import deep_copy
from streamlit_crdt.errors import SharedItemDeletedError
from streamlit_crdt.room.shared_types.three_way import merge

Returned = TypeVar("Returned")
Change = Callable[[Any], Any]
"""Returns the new value of a container for its present value."""

_Step = tuple[Any, Any]
"""Key or index of a container in its parent, and the plain container that the program saw there."""


class LiveRoot:
    """The outermost container that was read, and the way into the room."""

    def __init__(self, key: str, write: Callable[[Change], Any]) -> None:
        """Create a root.

        Args:
            key: the key of the shared value, for errors.
            write: replaces the present container in the room by the result of a function, and returns this result.
        """
        self._key = key
        self._write = write

    def mutate(self, live: Any, change: Callable[[Any], Returned]) -> Returned:
        """Apply a method of the plain type to a live container and to the container in the room. Return its result.

        Raises:
            SharedItemDeletedError: the room does not have the container any more.
        """
        steps = self._steps_to(live)
        seen, after = plain(live), plain(live)
        result = change(after)
        merged: list[Any] = []

        def write(present: Any) -> Any:
            outer, place, target = self._find(present, steps, type(seen))
            merged.append(merge(seen, after, target))
            if outer is None:
                return merged[-1]
            outer[place] = merged[-1]
            return present

        self._write(write)
        change(live)
        live._adopt()
        if not equal(live, merged[-1]):
            live._replace(merged[-1])
        return cast(Returned, plain(result))

    def _steps_to(self, live: Any) -> list[_Step]:
        steps = list[_Step]()
        while (parent := live._parent) is not None:
            places = parent.items() if isinstance(parent, dict) else enumerate(parent)
            place = next((place for place, child in places if child is live), _MISSING)
            if place is _MISSING:
                raise SharedItemDeletedError(self._key)
            steps.append((place, plain(live)))
            live = parent
        return steps[::-1]

    def _find(self, present: Any, steps: Sequence[_Step], kind: type) -> tuple[Any, Any, Any]:
        """Return the parent of the container at the end of the steps, its place there, and the container."""
        outer, found_place = None, None
        for place, seen in steps:
            outer, found_place = present, self._place_of(present, place, seen)
            present = outer[found_place]
        if type(present) is not kind:
            raise SharedItemDeletedError(self._key)
        return outer, found_place, present

    def _place_of(self, container: Any, place: Any, seen: Any) -> Any:
        if isinstance(container, dict) and place in container:
            return place
        if isinstance(container, list):
            index = nearest(container, seen, place)
            if index is not None:
                return index
        raise SharedItemDeletedError(self._key)


_MISSING = object()


def nearest(items: Sequence[Any], seen: Any, index: int) -> int | None:
    """Return the index of the item that equals `seen` and is nearest to an index. None if there is none."""
    found = [each for each, item in enumerate(items) if equal(item, seen)]
    return min(found, key=lambda each: abs(each - index), default=None)


def live_value(key: str, value: Any, write: Callable[[Change], Any]) -> Any:
    """Return a live value of a container, and any other value itself. See `LiveRoot`."""
    return _wrap(value, LiveRoot(key, write), None)


class _Live(LiveValue):
    """Common part of the three types. A change is a function that calls a method of the plain type."""

    __slots__ = ()
    _root: LiveRoot
    _parent: Any

    def _mutate(self, change: Callable[[Any], Returned]) -> Returned:
        return self._root.mutate(self, change)

    def __copy__(self) -> Any:
        return self.plain()

    def __deepcopy__(self, memo: Any) -> Any:
        return deep_copy(self.plain())

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        value = self.plain()
        return type(value), (value,)


class LiveDict(_Live, dict[Any, Any]):
    """A dict inside of a shared value."""

    __slots__ = ("_parent", "_root")

    def __init__(self, value: dict[Any, Any], root: LiveRoot, parent: Any) -> None:
        super().__init__(value)
        self._root, self._parent = root, parent
        self._adopt()

    def _adopt(self) -> None:
        for key, item in self.items():
            dict.__setitem__(self, key, _child(item, self))

    def _replace(self, value: dict[Any, Any]) -> None:
        kept = {
            key: self[key] if key in self and equal(self[key], item) else item for key, item in value.items()
        }
        dict.clear(self)
        dict.update(self, kept)
        self._adopt()

    def __setitem__(self, key: Any, value: Any) -> None:
        new = plain(value)
        self._mutate(lambda fields: dict.__setitem__(fields, key, new))

    def __delitem__(self, key: Any) -> None:
        self._mutate(lambda fields: dict.__delitem__(fields, key))

    def update(self, *others: Any, **more: Any) -> None:
        new = dict(*others, **more)
        self._mutate(lambda fields: dict.update(fields, new))

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: Any, *default: Any) -> Any:
        return self._mutate(lambda fields: dict.pop(fields, key, *default))

    def popitem(self) -> tuple[Any, Any]:
        key, value = self._mutate(dict.popitem)
        return key, plain(value)

    def clear(self) -> None:
        self._mutate(dict.clear)


class LiveList(_Live, list[Any]):
    """A list inside of a shared value."""

    __slots__ = ("_parent", "_root")

    def __init__(self, value: list[Any], root: LiveRoot, parent: Any) -> None:
        super().__init__(value)
        self._root, self._parent = root, parent
        self._adopt()

    def _adopt(self) -> None:
        for index, item in enumerate(self):
            list.__setitem__(self, index, _child(item, self))

    def _replace(self, value: list[Any]) -> None:
        present = list(self)
        for index, item in enumerate(value):
            found = nearest(present, item, index)
            if found is not None:
                value = [*value[:index], present.pop(found), *value[index + 1 :]]
        list.__setitem__(self, slice(None), value)
        self._adopt()

    def __setitem__(self, index: Any, value: Any) -> None:
        new = [plain(item) for item in value] if isinstance(index, slice) else plain(value)
        self._mutate(lambda items: list.__setitem__(items, index, new))

    def __delitem__(self, index: Any) -> None:
        self._mutate(lambda items: list.__delitem__(items, index))

    def append(self, value: Any) -> None:
        new = plain(value)
        self._mutate(lambda items: list.append(items, new))

    def insert(self, index: SupportsIndex, value: Any) -> None:
        new = plain(value)
        self._mutate(lambda items: list.insert(items, index, new))

    def extend(self, values: Iterable[Any]) -> None:
        new = [plain(value) for value in values]
        self._mutate(lambda items: list.extend(items, new))

    def __iadd__(self, values: Iterable[Any]) -> Self:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, count: SupportsIndex) -> Self:
        self[:] = plain(self) * count
        return self

    def pop(self, index: SupportsIndex = -1) -> Any:
        return self._mutate(lambda items: list.pop(items, index))

    def remove(self, value: Any) -> None:
        self._mutate(lambda items: list.remove(items, value))

    def reverse(self) -> None:
        self._mutate(list.reverse)

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        self._mutate(lambda items: list.sort(items, key=key, reverse=reverse))

    def clear(self) -> None:
        self._mutate(list.clear)


class LiveSet(_Live, set[Any]):
    """A set inside of a shared value."""

    __slots__ = ("_parent", "_root")

    def __init__(self, value: set[Any], root: LiveRoot, parent: Any) -> None:
        super().__init__(value)
        self._root, self._parent = root, parent

    def _adopt(self) -> None:
        """Do nothing: a set contains no containers that can change."""

    def _replace(self, value: set[Any]) -> None:
        set.clear(self)
        set.update(self, value)

    def add(self, item: Any) -> None:
        self._mutate(lambda items: set.add(items, item))

    def discard(self, item: Any) -> None:
        self._mutate(lambda items: set.discard(items, item))

    def remove(self, item: Any) -> None:
        self._mutate(lambda items: set.remove(items, item))

    def pop(self) -> Any:
        item = next(iter(self), _MISSING)
        if item is _MISSING:
            raise KeyError("pop from an empty set")
        self.remove(item)
        return item

    def clear(self) -> None:
        self._mutate(set.clear)

    def update(self, *others: Iterable[Any]) -> None:
        new = [set(other) for other in others]
        self._mutate(lambda items: set.update(items, *new))

    def difference_update(self, *others: Iterable[Any]) -> None:
        new = [set(other) for other in others]
        self._mutate(lambda items: set.difference_update(items, *new))

    def intersection_update(self, *others: Iterable[Any]) -> None:
        new = [set(other) for other in others]
        self._mutate(lambda items: set.intersection_update(items, *new))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        new = set(other)
        self._mutate(lambda items: set.symmetric_difference_update(items, new))

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]
        self.update(other)
        return self

    def __iand__(self, other: Any) -> Self:  # type: ignore[misc]
        self.intersection_update(other)
        return self

    def __isub__(self, other: Any) -> Self:  # type: ignore[misc]
        self.difference_update(other)
        return self

    def __ixor__(self, other: Any) -> Self:  # type: ignore[misc]
        self.symmetric_difference_update(other)
        return self


_LIVE: dict[type, Any] = {dict: LiveDict, list: LiveList, set: LiveSet}


def _child(item: Any, parent: Any) -> Any:
    """Return the child of a live container: a live value that belongs to it."""
    if isinstance(item, _Live) and item._parent is parent:
        return item
    return _wrap(plain(item), parent._root, parent)


def _wrap(value: Any, root: LiveRoot, parent: Any) -> Any:
    kind = _LIVE.get(type(value))
    return value if kind is None else kind(value, root, parent)


def live_item(
    key: str, value: Any, operate: Callable[[Callable[[Any], Any]], Any], part: Any, index: int = 0
) -> Any:
    """Return an item of a shared list or of records. A change of a container in it is written to the room.

    Args:
        operate: makes an operation with the editor of the list, and returns its result.
        part: the editor's name of the item, None if items have none.
        index: where the item was read, for a list whose items have no names.
    """
    seen = [value]

    def write(change: Change) -> None:
        def operation(editor: Any) -> Any:
            try:
                place = editor.locate(part, seen[0], index)
            except LookupError as error:
                raise SharedItemDeletedError(key) from error
            after = change(editor.item(place))
            editor.change_item(place, after)
            return after

        seen[0] = operate(operation)

    return live_value(key, value, write)
