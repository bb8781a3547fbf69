"""The rule "set": items without an order, where an addition wins over a removal at the same moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycrdt import Map

from streamlit_crdt.merge.items import decode, encode, name_of
from streamlit_crdt.scalars import Stored


class SetRule:
    """Merges by item: one entry for each, under its own name. Multi-select widgets hold a set as a list."""

    name = "set"
    kind = Map

    def takes(self, value: object) -> bool:
        if type(value) is set:
            return True
        return type(value) is list and len(_entries(value)) == len(value)

    def form(self, value: object) -> str:
        return type(value).__name__

    def edit(self, shared: Map[Any], before: Iterable[Any] | None, after: Iterable[Any], author: int) -> None:
        old, new = _entries(before or ()), _entries(after)
        for name in sorted(old.keys() - new.keys()):
            if name in shared:
                del shared[name]
        for name in sorted(new.keys() - old.keys()):
            shared[name] = new[name]

    def distance(self, before: Iterable[Any], after: Iterable[Any]) -> float:
        return len(_entries(before).keys() ^ _entries(after).keys())

    def read(self, shared: Map[Any]) -> Stored:
        return shared.to_py() or {}

    def value(self, content: Stored, form: str) -> Any:
        items = [decode(content[name]) for name in sorted(content)]
        return items if form == "list" else set(items)


def _entries(items: Iterable[Any]) -> dict[str, Stored]:
    stored = [encode(item) for item in items]
    return {name_of(item): item for item in stored}
