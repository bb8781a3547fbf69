"""`room.list(key)`."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Any, overload

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.shared.view import View


class SharedList(View[list[Any]], MutableSequence[Any]):
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
