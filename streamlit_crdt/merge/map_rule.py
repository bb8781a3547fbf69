"""The rule "map": a dict merged by entry, including the entries of nested dicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pycrdt import Map

from streamlit_crdt.codec.equality import MAX_DEPTH
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.item_keys import encode, item_from_key, item_key, token
from streamlit_crdt.merge.rule import Edit


class MapRule:
    """Merge by entry in one flat Yjs map. The name of an entry is its path, a JSON Pointer without the first slash.

    Nested Yjs maps would lose data: if two sessions create one under the same key at the same time, the content of one
    side is lost. If a leaf and entries below it are written at the same time, the entries are kept.
    """

    name = "map"
    kind = Map
    empty: Mapping[str, Stored] = MappingProxyType({})

    def accepts(self, value: object) -> bool:
        return type(value) is dict

    def container_tag(self, value: object) -> str:
        return "dict"

    def edit(self, shared: Map[Any], content: Mapping[str, Stored], edit: Edit) -> None:
        old, new = dict(_leaves(edit.before or {})), dict(_leaves(edit.after))
        written = {name for name in new if name not in old or token(old[name]) != token(new[name])}
        removed = old.keys() - new.keys()
        hidden = {parent for name in written | removed for parent in _parents(name)} - new.keys()
        for name in sorted(removed | hidden):
            if name in content:
                del shared[name]
        for name in sorted(written):
            shared[name] = new[name]

    def distance(self, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> float:
        old, new = ({(name, token(leaf)) for name, leaf in _leaves(value)} for value in (before, after))
        return len(old ^ new)

    def value(self, content: Stored, container_tag: str) -> Any:
        tree: dict[Any, Any] = {}
        for name in sorted(content, key=lambda name: name.split("/")):
            if name.count("/") >= MAX_DEPTH:
                raise ValueError(f"an entry's path has more than {MAX_DEPTH} parts")
            _set(tree, [_key(part) for part in name.split("/")], decode(content[name]))
        return tree


def _leaves(value: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Stored]]:
    for key, item in value.items():
        item_path = (*path, _part(key))
        if type(item) is dict and item and len(item_path) < MAX_DEPTH:
            yield from _leaves(item, item_path)
        else:
            yield "/".join(item_path), encode(item)


def _parents(name: str) -> Iterator[str]:
    """Yield the proper prefixes of a path. A leaf with such a name is hidden by the entry below it."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])


def _set(tree: dict[Any, Any], path: list[Any], value: Any) -> None:
    *parents, last = path
    for key in parents:
        inner = tree.get(key)
        if type(inner) is not dict:
            inner = tree[key] = {}
        tree = inner
    tree[last] = value


def _part(key: object) -> str:
    """Return the path part of a dict key: an escaped str, or "$" and the item key of another type."""
    stored = encode(key)
    if type(stored) is not str:
        return "$" + _escape(item_key(stored))
    return "~2" + _escape(stored[1:]) if stored.startswith("$") else _escape(stored)


def _key(part: str) -> Any:
    if part.startswith("$"):
        return decode(item_from_key(_unescape(part[1:])))
    return "$" + _unescape(part[2:]) if part.startswith("~2") else _unescape(part)


def _escape(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def _unescape(text: str) -> str:
    return text.replace("~1", "/").replace("~0", "~")
