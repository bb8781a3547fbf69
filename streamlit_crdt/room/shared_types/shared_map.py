"""A shared dict."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.merge import RULES
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


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
