"""The rule "counter": a number to which concurrent additions add up."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any

from pycrdt import Map

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.rule import Edit

_MAX_BITS = 1000
"""Limit of an int in bits. A larger int cannot be added to a float: Python raises OverflowError."""


class CounterRule:
    """Partial sums by replica id. Each replica writes its own entry only. The value is the sum of all entries."""

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
        own = str(edit.author)
        added = edit.after - (edit.before or 0)
        if added or edit.before is None:
            shared[own] = encode(_number(content[own]) + added if own in content else added)

    def distance(self, before: float, after: float) -> float:
        return abs(after - before)

    def value(self, content: Stored, container_tag: str) -> Any:
        total = sum(_number(content[replica]) for replica in sorted(content))
        if container_tag == "float":
            return float(total)
        return int(total) if container_tag == "int" and total == total // 1 else total


def _number(stored: Stored) -> float:
    number = decode(stored)
    if type(number) not in (int, float):
        raise TypeError("not a number")
    return number  # type: ignore[no-any-return]
