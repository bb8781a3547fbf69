"""The rule "set": unordered items in which an addition wins over a concurrent removal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pycrdt import Map

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.rule import Edit
from streamlit_crdt.merge.tree.names import name_of_item


class SetRule:
    """Merge by item, with one entry for each item and replica that added it. A multi-select widget's list is a set too.

    With one entry for each item, a removal by one replica could delete the concurrent addition by another.
    """

    name = "set"
    kind = Map
    empty: Mapping[str, Stored] = MappingProxyType({})

    def accepts(self, value: object) -> bool:
        if type(value) is not list:
            return type(value) is set
        try:
            return len(_entries(value)) == len(value)
        except ValueNotShareableError:
            return False

    def container_tag(self, value: object) -> str:
        return type(value).__name__

    def edit(self, shared: Map[Any], content: Mapping[str, Stored], edit: Edit) -> None:
        old, new = _entries(edit.before or ()), _entries(edit.after)
        removed = old.keys() - new.keys()
        for entry, item in sorted(content.items()):
            if removed and name_of_item(item) in removed:
                del shared[entry]
        author = edit.author if edit.is_by_person else ""
        for name in sorted(new.keys() - old.keys()):
            shared[f"{author}:{name}"] = new[name]

    def distance(self, before: Iterable[Any], after: Iterable[Any]) -> float:
        return len(_entries(before).keys() ^ _entries(after).keys())

    def value(self, content: Stored, container_tag: str) -> Any:
        by_name = {name_of_item(content[entry]): content[entry] for entry in sorted(content)}
        items = [decode(by_name[name]) for name in sorted(by_name)]
        return items if container_tag == "list" else set(filter(_is_hashable, items))


def _is_hashable(item: Any) -> bool:
    """Return whether a set can contain an item. The content may have been that of a list under another rule."""
    try:
        hash(item)
    except TypeError:
        return False
    return True


def _entries(items: Iterable[Any]) -> dict[str, Stored]:
    stored = [encode(item) for item in items]
    return {name_of_item(item): item for item in stored}
