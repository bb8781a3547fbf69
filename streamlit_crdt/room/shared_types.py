"""Shared types of a room: text, list, map, set and counter, with the protocols of Python's own types.

Each object is a view of one key. Reading returns copies, and changes of a copy are not shared. The methods of the view
edit the room at once, in a callback, the script's body, a fragment or a thread. Such edits merge with concurrent ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, MutableSequence, MutableSet, Set
from numbers import Integral, Real
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError
from streamlit_crdt.merge import RULES, Rule

Value = TypeVar("Value")
Returned = TypeVar("Returned")


class Writer(Protocol):
    """Write access to a room, for example the membership of a session."""

    @property
    def replica(self) -> Replica: ...

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        """Replace the present value of `key` by the result of `change`.

        Args:
            key: the key.
            rule: merge rule of the key.
            empty: argument of `change` if the room has no value.
            change: called with a copy of the present value.

        Raises:
            ValueNotShareableError: the new value cannot be shared, or the key is private (P8).
            ViewOnlyError: the role is viewer (A1).
        """
        ...


class SharedType(Generic[Value]):
    """View of one key as a value of one merge rule. Created by `room.text(key)` and the similar methods."""

    def __init__(self, writer: Writer, key: str, rule: Rule, empty: Callable[[], Value]) -> None:
        """Create a view.

        Args:
            writer: access to the room.
            key: the key.
            rule: merge rule of the key.
            empty: returns the value that the view shows while the room has none.
        """
        self.key = key
        self._writer = writer
        self._rule = rule
        self._empty = empty

    def _read(self) -> Value:
        """Return a copy of the shared value."""
        value: Value = self._checked(self._writer.replica.get(self.key, self._empty()))
        return value

    def _change(self, change: Callable[[Value], Value]) -> None:
        def checked(value: Any) -> Value:
            after = self._plain(change(self._checked(value)))
            if not self._rule.accepts(after):
                raise ValueNotShareableError(
                    type(after).__name__, f"it is not a value for a {self._rule.name}", key=self.key
                )
            return after

        self._writer.change(self.key, self._rule, self._empty(), checked)

    def _mutate(self, change: Callable[[Value], Returned]) -> Returned:
        """Apply `change`, which modifies its argument in place, as one edit. Return its result."""
        returned: list[Returned] = []

        def alter(value: Value) -> Value:
            returned.append(change(value))
            return value

        self._change(alter)
        return returned[0]

    def _plain(self, value: Value) -> Value:
        """Convert a subclass of the plain type to the plain type."""
        return value

    def _checked(self, value: Any) -> Any:
        if not self._rule.accepts(value):
            raise SharedTypeError(self.key, self._rule.name, type(value).__name__)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._read()!r})"


class SharedText(SharedType[str]):
    """A text that merges by character. Positions count characters, as in `str`."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["text"], str)

    def _plain(self, value: str) -> str:
        return str(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return self._read()

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, substring: object) -> bool:
        return isinstance(substring, str) and substring in self._read()

    def __getitem__(self, index: int | slice) -> str:
        return self._read()[index]

    def __eq__(self, other: object) -> bool:
        return self._read() == (other._read() if isinstance(other, SharedText) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, text: str) -> Self:
        self.append(text)
        return self

    def append(self, text: str) -> None:
        """Append `text`."""
        self._change(lambda value: value + text)

    def insert(self, place: int, text: str) -> None:
        """Insert `text` before the character at index `place`. An index out of range means the nearest end."""
        self._change(lambda value: value[:place] + text + value[place:])

    def delete(self, start: int, stop: int | None = None) -> None:
        """Delete the characters of the slice `start:stop`."""
        self._change(lambda value: "".join(_without(list(value), slice(start, stop))))

    def replace(self, old: str, new: str, count: int = -1) -> None:
        """Replace each occurrence of `old`, or the first `count`, as `str.replace` does."""
        self._change(lambda value: value.replace(old, new, count))

    def set(self, text: str) -> None:
        """Replace the whole text. Only the difference is written, so concurrent edits of other parts stay."""
        self._change(lambda value: text)


def _without(characters: list[str], deleted: slice) -> list[str]:
    del characters[deleted]
    return characters


class SharedList(SharedType[list[Any]], MutableSequence[Any]):
    """A list that merges by item. Concurrent inserts are all kept, in the same order for all participants."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["list"], list)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._read()[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        self._mutate(lambda items: items.__setitem__(index, value))

    def __delitem__(self, index: int | slice) -> None:
        self._mutate(lambda items: items.__delitem__(index))

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Any:
        return iter(self._read())

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def insert(self, place: int, value: Any) -> None:
        self._mutate(lambda items: items.insert(place, value))

    def append(self, value: Any) -> None:
        self._change(lambda items: [*items, value])

    def extend(self, values: Iterable[Any]) -> None:
        more = list(values)
        self._change(lambda items: [*items, *more])

    def pop(self, place: int = -1) -> Any:
        return self._mutate(lambda items: items.pop(place))

    def remove(self, value: Any) -> None:
        """Remove the first item that equals `value`.

        Raises:
            ValueError: no item equals `value`.
        """
        self._mutate(lambda items: items.remove(value))

    def reverse(self) -> None:
        self._mutate(lambda items: items.reverse())

    def clear(self) -> None:
        self._change(lambda items: [])


class SharedMap(SharedType[dict[Any, Any]], MutableMapping[Any, Any]):
    """A dict that merges by entry, including the entries of nested dicts."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["map"], dict)

    def __getitem__(self, name: Any) -> Any:
        return self._read()[name]

    def __setitem__(self, name: Any, value: Any) -> None:
        self._change(lambda entries: {**entries, name: value})

    def __delitem__(self, name: Any) -> None:
        self._mutate(lambda entries: entries.__delitem__(name))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def __eq__(self, other: object) -> bool:
        return equal(self._read(), other._read() if isinstance(other, SharedMap) else other)

    __hash__ = None  # type: ignore[assignment]

    def update(self, *others: Any, **more: Any) -> None:
        new = dict(*others, **more)
        self._change(lambda entries: {**entries, **new})

    def pop(self, name: Any, *default: Any) -> Any:
        return self._mutate(lambda entries: entries.pop(name, *default))

    def popitem(self) -> tuple[Any, Any]:
        return self._mutate(lambda entries: entries.popitem())

    def setdefault(self, name: Any, default: Any = None) -> Any:
        return self._mutate(lambda entries: entries.setdefault(name, default))

    def clear(self) -> None:
        self._change(lambda entries: {})


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

    def _alter(self, change: Callable[[set[Any]], set[Any]]) -> None:
        """Store the result of `change` in the type of the present value: list for a multi-select, else set."""
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
        """Remove `item`.

        Raises:
            KeyError: the set does not contain `item`.
        """
        self._mutate_set(lambda items: items.remove(item))

    def pop(self) -> Any:
        return self._mutate_set(lambda items: items.pop())

    def __ior__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        self.update(others)
        return self

    def __iand__(self, others: Set[Any]) -> Self:
        values = set(others)
        self._alter(lambda items: items & values)
        return self

    def __isub__(self, others: Set[Any]) -> Self:
        values = set(others)
        self._alter(lambda items: items - values)
        return self

    def __ixor__(self, others: Set[Any]) -> Self:  # type: ignore[misc]
        values = set(others)
        self._alter(lambda items: items ^ values)
        return self

    def _mutate_set(self, change: Callable[[set[Any]], Any]) -> Any:
        """Apply `change`, which modifies a set in place, as one edit. Return its result.

        Unlike `_mutate`, it also accepts the list that a multi-select widget has stored.
        """
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


class SharedCounter(SharedType[float]):
    """A number to which concurrent additions all count."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["counter"], int)

    @property
    def value(self) -> float:
        """The sum of all additions: an int unless one of them was a float."""
        return self._read()

    def increment(self, by: float = 1) -> None:
        """Add `by`.

        Args:
            by: any real number, also negative, and also of numpy.

        Raises:
            ValueNotShareableError: `by` is not a real number, or the sum is not finite.
        """
        if not isinstance(by, Real):
            raise ValueNotShareableError(type(by).__name__, "it is not a real number", key=self.key)
        number = int(by) if isinstance(by, Integral) else float(by)
        self._change(lambda value: value + number)

    def __int__(self) -> int:
        return int(self._read())

    def __float__(self) -> float:
        return float(self._read())


__all__ = ["SharedCounter", "SharedList", "SharedMap", "SharedSet", "SharedText", "Writer"]
