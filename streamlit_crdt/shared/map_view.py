"""`room.map(key)`."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.shared.view import View


class SharedMap(View[dict[Any, Any]], MutableMapping[Any, Any]):
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
