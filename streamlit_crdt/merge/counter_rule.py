"""The rule "counter": a number to which concurrent additions add up.

| entry | content |
|---|---|
| replica id | the sum of what the replica has added |
| `~` and replica id | the sum of what the replica has subtracted, a negative number |
| `-NAME:SUM` | what a reset takes off the entry NAME, which had this sum |

The value is the sum of all entries. Two resets of one sum write the same entry. Of resets that saw different sums of
one entry, only the largest counts, because an entry grows in one direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

from pycrdt import Doc, Map

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.rule import Edit

_MAX_BITS = 1000
"""Limit of an int in bits. A larger int cannot be added to a float: Python raises OverflowError."""


_RESET: Final = "-"
_SUBTRACTED: Final = "~"


class CounterRule:
    """Partial sums by replica id. Each replica writes its own entries only, except in a reset."""

    name = "counter"
    kind = Map
    empty: Mapping[str, Stored] = MappingProxyType({})

    def accepts(self, value: object) -> bool:
        if type(value) is int:
            return value.bit_length() <= _MAX_BITS
        return type(value) is float and isfinite(value)

    def container_tag(self, value: float) -> str:
        return type(value).__name__

    def edit(self, shared: Map[Any], content: Mapping[str, Stored], edit: Edit) -> None:
        added = edit.after - (edit.before or 0)
        if not (added or edit.before is None):
            return
        if edit.is_by_person:
            name, stored = addition(content, added, edit.author)
            shared[name] = stored
            return
        source = sorted((name, repr(content[name])) for name in content)
        author = edit.derive(f"{source}\0{added}")
        if author is not None:
            document: Doc[Any] = Doc(client_id=author)
            name, stored = addition({}, added, author)
            document.get(edit.root, type=Map)[name] = stored
            shared.doc.apply_update(document.get_update())

    def distance(self, before: float, after: float) -> float:
        return abs(after - before)

    def value(self, content: Stored, container_tag: str) -> Any:
        total = sum(amount for _, amount in _amounts(content))
        if container_tag == "float":
            return float(total)
        return int(total) if container_tag == "int" and total == total // 1 else total


def addition(content: Mapping[str, Stored], added: float, author: int) -> tuple[str, Stored]:
    """Return the entry that adds a number, and its new content."""
    name = f"{_SUBTRACTED}{author}" if added < 0 else str(author)
    return name, encode(_number(content[name]) + added if name in content else added)


def reset(content: Mapping[str, Stored]) -> Iterator[tuple[str, Stored | None]]:
    """Yield the entries that set the value to 0, and with None those of former resets, which they replace."""
    for name, amount in list(_amounts(content)):
        if amount:
            for former in [each for each in content if _reset_entry(each) == name]:
                yield former, None
            total = _number(content[name])
            yield f"{_RESET}{name}:{total!r}", encode(-total)


def _amounts(content: Mapping[str, Stored]) -> Iterator[tuple[str, float]]:
    """Yield the sum of each replica without what was reset."""
    taken = dict[str, float]()
    for name in sorted(content):
        if (entry := _reset_entry(name)) is not None:
            taken[entry] = max(taken.get(entry, 0), -_number(content[name]), key=abs)
    for name in sorted(content):
        if _reset_entry(name) is None:
            total = _number(content[name])
            # Undo may make a sum smaller than the part of it that was reset.
            yield name, total - taken.get(name, 0) if abs(total) > abs(taken.get(name, 0)) else 0


def _reset_entry(name: str) -> str | None:
    """Return the entry that a reset has changed. None if `name` is no entry of a reset."""
    return name[len(_RESET) :].rpartition(":")[0] if name.startswith(_RESET) else None


def _number(stored: Stored) -> float:
    number = decode(stored)
    if type(number) not in (int, float):
        raise TypeError("not a number")
    return number  # type: ignore[no-any-return]
