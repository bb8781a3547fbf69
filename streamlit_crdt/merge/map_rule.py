"""The rule "map": a dict, merged per entry, also inside the dicts that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pycrdt import Map

from streamlit_crdt.codec.equality import MAX_DEPTH
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import decode, encode, item_from_key, item_key, token


class MapRule:
    """Merges by entry. An entry's name is its path, as a JSON Pointer without the first slash.

    A map inside a map would be lost where two sessions make it at the same moment, so all lies in one. Of a leaf and
    entries below it, written at the same moment, the entries are kept.
    """

    name = "map"
    kind = Map

    def takes(self, value: object) -> bool:
        return type(value) is dict

    def form(self, value: object) -> str:
        return "dict"

    def edit(
        self, shared: Map[Any], before: Mapping[Any, Any] | None, after: Mapping[Any, Any], author: int
    ) -> None:
        old, new = dict(_leaves(before or {})), dict(_leaves(after))
        written = {name for name in new if name not in old or token(old[name]) != token(new[name])}
        removed = old.keys() - new.keys()
        hidden = {above for name in written | removed for above in _above(name)} - new.keys()
        for name in sorted(removed | hidden):
            if name in shared:
                del shared[name]
        for name in sorted(written):
            shared[name] = new[name]

    def distance(self, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> float:
        old, new = ({(name, token(leaf)) for name, leaf in _leaves(value)} for value in (before, after))
        return len(old ^ new)

    def read(self, shared: Map[Any]) -> Stored:
        return shared.to_py() or {}

    def value(self, content: Stored, form: str) -> Any:
        tree: dict[Any, Any] = {}
        for name in sorted(content, key=lambda name: name.split("/")):
            if name.count("/") >= MAX_DEPTH:
                raise ValueError(f"a path of more than {MAX_DEPTH} parts")
            _put(tree, [_key(part) for part in name.split("/")], decode(content[name]))
        return tree


def _leaves(value: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Stored]]:
    for key, item in value.items():
        below = (*path, _part(key))
        if type(item) is dict and item and len(below) < MAX_DEPTH:
            yield from _leaves(item, below)
        else:
            yield "/".join(below), encode(item)


def _above(name: str) -> Iterator[str]:
    """Yield the names of the leaves that an entry hides: those on the way to it."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])


def _put(tree: dict[Any, Any], path: list[Any], value: Any) -> None:
    *above, last = path
    for key in above:
        inner = tree.get(key)
        if type(inner) is not dict:
            inner = tree[key] = {}
        tree = inner
    tree[last] = value


def _part(key: object) -> str:
    """Return a key as a part of a path: a text as it is, anything else as JSON after a "$"."""
    stored = encode(key)
    if type(stored) is not str:
        return "$" + _escaped(item_key(stored))
    return "~2" + _escaped(stored[1:]) if stored.startswith("$") else _escaped(stored)


def _key(part: str) -> Any:
    if part.startswith("$"):
        return decode(item_from_key(_plain(part[1:])))
    return "$" + _plain(part[2:]) if part.startswith("~2") else _plain(part)


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def _plain(text: str) -> str:
    return text.replace("~1", "/").replace("~0", "~")
