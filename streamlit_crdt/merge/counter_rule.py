"""The rule "counter": a number, where all additions count."""

from __future__ import annotations

from math import isfinite
from typing import Any

from pycrdt import Map

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import decode, encode

_MAX_BITS = 1000
"""Of an integer that can still be added to a float."""


class CounterRule:
    """Each replica keeps the sum of its own additions, under its id; the value is the sum of those."""

    name = "counter"
    kind = Map

    def takes(self, value: object) -> bool:
        if type(value) is int:
            return value.bit_length() <= _MAX_BITS
        return type(value) is float and isfinite(value)

    def form(self, value: float) -> str:
        return type(value).__name__

    def edit(self, shared: Map[Any], before: float | None, after: float, author: int) -> None:
        own = str(author)
        added = after - (before or 0)
        if added or before is None:
            shared[own] = encode(_number(shared[own]) + added if own in shared else added)

    def distance(self, before: float, after: float) -> float:
        return abs(after - before)

    def read(self, shared: Map[Any]) -> Stored:
        return shared.to_py() or {}

    def value(self, content: Stored, form: str) -> Any:
        total = sum(_number(content[replica]) for replica in sorted(content))
        if form == "float":
            return float(total)
        return int(total) if form == "int" and total == total // 1 else total


def _number(stored: Stored) -> float:
    number = decode(stored)
    if type(number) not in (int, float):
        raise TypeError("not a number")
    return number  # type: ignore[no-any-return]
