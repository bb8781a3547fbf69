"""`room.set(key)`.

What the views of shared types have in common.

`room.text(key)`.

`room.list(key)`.

`room.map(key)`.

`room.counter(key)`.

A room's shared types, with Python's own protocols: what is changed through them merges with others' changes.

Each is a view of one key. Reading gives copies; what is changed in a copy stays there, and what is changed by the
view's own methods is in the room at once, whether in a callback, the body, a fragment or a thread of the script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, MutableSequence, MutableSet, Set
from numbers import Integral, Real
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, overload

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError
from streamlit_crdt.merge import RULES, Rule

Value = TypeVar("Value")
Returned = TypeVar("Returned")


class Writer(Protocol):
    """Who may write into a room, such as a session that is in it."""

    @property
    def replica(self) -> Replica: ...

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        """Edit the value of `key` as it is now; `change` gets it, `empty` if there is none.

        Raises:
            ValueNotShareableError: the outcome has no shared form, or the key is private (P8).
            ViewOnlyError: the writer may only look (A1).
        """
        ...


class SharedType(Generic[Value]):
    """One key of a room, as a value of one rule. Made by `room.text(key)` and its like."""

    _rule_name: ClassVar[str]

    def __init__(self, writer: Writer, key: str) -> None:
        self.key = key
        self._writer = writer
        self._rule = RULES[self._rule_name]

    def _empty(self) -> Value:
        raise NotImplementedError

    def _read(self) -> Value:
        """Return a copy of what everybody has."""
        value: Value = self._checked(self._writer.replica.get(self.key, self._empty()))
        return value

    def _change(self, change: Callable[[Value], Value]) -> None:
        def checked(value: Any) -> Value:
            after = self._plain(change(self._checked(value)))
            if not self._rule.takes(after):
                raise ValueNotShareableError(
                    type(after).__name__, f"it is no value for a {self._rule_name}", key=self.key
                )
            return after

        self._writer.change(self.key, self._rule, self._empty(), checked)

    def _mutate(self, change: Callable[[Value], Returned]) -> Returned:
        """Have `change` alter the value in place, as one edit, and return what it returns."""
        returned: list[Returned] = []

        def alter(value: Value) -> Value:
            returned.append(change(value))
            return value

        self._change(alter)
        return returned[0]

    def _plain(self, value: Value) -> Value:
        """Return a value of a kind that stands for one of Python's own as the latter."""
        return value

    def _checked(self, value: Any) -> Any:
        if not self._rule.takes(value):
            raise SharedTypeError(self.key, self._rule_name, type(value).__name__)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._read()!r})"


class SharedText(SharedType[str]):
    """A text that several people write in at once. Places count characters, as in a `str`."""

    _rule_name = "text"

    def _empty(self) -> str:
        return ""

    def _plain(self, value: str) -> str:
        return str(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return self._read()

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and part in self._read()

    def __getitem__(self, place: int | slice) -> str:
        return self._read()[place]

    def __eq__(self, other: object) -> bool:
        return self._read() == (other._read() if isinstance(other, SharedText) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, text: str) -> Self:
        self.append(text)
        return self

    def append(self, text: str) -> None:
        """Put `text` at the end."""
        self._change(lambda value: value + text)

    def insert(self, place: int, text: str) -> None:
        """Put `text` in before the character at `place`; a place beyond an end is that end."""
        self._change(lambda value: value[:place] + text + value[place:])

    def delete(self, start: int, stop: int | None = None) -> None:
        """Take out the characters from `start` to before `stop`, as of a slice; None is the end."""
        self._change(lambda value: "".join(_without(list(value), slice(start, stop))))

    def replace(self, old: str, new: str, count: int = -1) -> None:
        """Replace each `old` (the first `count` of them), as `str.replace` does."""
        self._change(lambda value: value.replace(old, new, count))

    def set(self, text: str) -> None:
        """Have it be `text`; what others are writing at this moment stays."""
        self._change(lambda value: text)


def _without(characters: list[str], where: slice) -> list[str]:
    del characters[where]
    return characters


class SharedList(SharedType[list[Any]], MutableSequence[Any]):
    """A list in which all that several people put in at once is kept, in one order for everybody."""

    _rule_name = "list"

    def _empty(self) -> list[Any]:
        return []

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._read()[place]

    def __setitem__(self, place: int | slice, value: Any) -> None:
        self._mutate(lambda items: items.__setitem__(place, value))

    def __delitem__(self, place: int | slice) -> None:
        self._mutate(lambda items: items.__delitem__(place))

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
        """Take out the first item that equals `value`; raises ValueError if there is none."""
        self._mutate(lambda items: items.remove(value))

    def reverse(self) -> None:
        self._mutate(lambda items: items.reverse())

    def clear(self) -> None:
        self._change(lambda items: [])


class SharedMap(SharedType[dict[Any, Any]], MutableMapping[Any, Any]):
    """A dict that merges entry by entry, also inside the dicts that it holds."""

    _rule_name = "map"

    def _empty(self) -> dict[Any, Any]:
        return {}

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


class SharedCounter(SharedType[float]):
    """A number to which everybody's additions count."""

    _rule_name = "counter"

    def _empty(self) -> float:
        return 0

    @property
    def value(self) -> float:
        """The sum of all additions: an int unless somebody added a float."""
        return self._read()

    def increment(self, by: float = 1) -> None:
        """Add `by`, which may be negative, and any real number, such as numpy's.

        Raises:
            ValueNotShareableError: it is none, or the sum is not finite.
        """
        if not isinstance(by, Real):
            raise ValueNotShareableError(type(by).__name__, "it is no real number", key=self.key)
        number = int(by) if isinstance(by, Integral) else float(by)
        self._change(lambda value: value + number)

    def __int__(self) -> int:
        return int(self._read())

    def __float__(self) -> float:
        return float(self._read())


__all__ = ["SharedCounter", "SharedList", "SharedMap", "SharedSet", "SharedText", "Writer"]
