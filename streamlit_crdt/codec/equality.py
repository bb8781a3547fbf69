"""Whether two values are the same to everybody in a room, and private copies to compare against later.

Python's `==` is too generous (`True == 1 == 1.0`, times in different zones) and too strict (nan), and raises
or answers with an array where numpy and pandas are involved. A change is what `equal` calls different: it
decides what is sent.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Hashable
from datetime import datetime, time, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from math import copysign, isnan
from typing import Any
from zoneinfo import ZoneInfo

from streamlit_crdt.codec import arrays

MAX_DEPTH = 64
"""Levels of nesting that a value may have. Deeper ones are refused, and so are values that contain
themselves."""

_MAX_COMPARED_DEPTH = 3 * MAX_DEPTH
"""Stored trees are compared as well, in which a tag takes up to three levels."""
_IMMUTABLE = frozenset({type(None), bool, int, float, str, bytes, complex, range, datetime, time, Decimal})


def equal(left: object, right: object) -> bool:
    """Return whether both have the same type and content, all the way down.

    Enum members are compared by module, qualified name and member, because Streamlit runs the script anew and
    its classes are other objects each time. The order of a dict's keys does not count.
    """
    try:
        return _same(left, right, 0)
    except RecursionError:
        return False


def deep_copy(value: Any) -> Any:
    """Return a copy that no later change of `value` in place can reach; immutable values are returned as they
    are."""
    return _detach(value, {})


def _same(left: Any, right: Any, depth: int) -> bool:
    if left is right:
        return True
    if isinstance(left, Enum) or isinstance(right, Enum):
        return _token(left) == _token(right)
    kind = type(left)
    if kind is not type(right):
        return False
    if depth > _MAX_COMPARED_DEPTH:
        raise RecursionError
    if kind is list or kind is tuple:
        return len(left) == len(right) and all(
            _same(a, b, depth + 1) for a, b in zip(left, right, strict=True)
        )
    if kind is dict:
        return _same_dicts(left, right, depth + 1)
    if kind is set or kind is frozenset:
        return Counter(map(_token, left)) == Counter(map(_token, right))
    if arrays.owns(left):
        return arrays.are_equal(left, right, lambda a, b: _same(a, b, depth + 1))
    if kind.__hash__ is None:
        return _same_by_operator(left, right)
    return _same_tokens(left, right)


def _same_dicts(left: dict[Any, Any], right: dict[Any, Any], depth: int) -> bool:
    if len(left) != len(right):
        return False
    if not all(type(key) is str for key in left):
        left = {_token(key): value for key, value in left.items()}
        right = {_token(key): value for key, value in right.items()}
    if left.keys() != right.keys() or any(type(key) is not str and type(key) is not tuple for key in right):
        return False
    return all(_same(value, right[key], depth) for key, value in left.items())


def _same_tokens(left: Any, right: Any) -> bool:
    try:
        return bool(_token(left) == _token(right))
    except (
        Exception
    ):  # a foreign `__eq__` or `__hash__` may raise anything; what cannot be compared counts as changed
        return False


def _same_by_operator(left: Any, right: Any) -> bool:
    try:
        return (left == right) is True
    except Exception:  # as above
        return False


def _token(value: Any) -> Hashable:
    """Return something hashable that is `==` for two values exactly if they are the same to `equal`."""
    kind = type(value)
    if isinstance(value, Enum):
        return (Enum, kind.__module__, kind.__qualname__, value.name, value.name or repr(value.value))
    if kind is float:
        return (float, "nan" if isnan(value) else value, copysign(1.0, value) if value == 0 else 1.0)
    if kind is complex:
        return (complex, _token(value.real), _token(value.imag))
    if kind is Decimal:
        return (Decimal, value.as_tuple())
    if kind is tuple:
        return (tuple, tuple(map(_token, value)))
    if kind is frozenset:
        return (frozenset, frozenset(Counter(map(_token, value)).items()))
    if kind is range:
        return (range, value.start, value.stop, value.step)
    if kind is datetime or kind is time:
        return (kind, value.replace(tzinfo=None), value.fold, _zone_token(value.tzinfo))
    if arrays.owns(value):
        return (kind, arrays.scalar_token(value))
    return (kind, value)


def _zone_token(zone: tzinfo | None) -> Hashable:
    if type(zone) is ZoneInfo:
        return zone.key
    if type(zone) is timezone:
        return (zone.utcoffset(None), zone.tzname(None))
    return zone


def _detach(value: Any, copies: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if id(value) in copies:
        return copies[id(value)]
    if kind is list:
        copy: Any = []
        copies[id(value)] = copy
        copy.extend(_detach(item, copies) for item in value)
        return copy
    if kind is dict:
        copy = {}
        copies[id(value)] = copy
        copy.update((key, _detach(item, copies)) for key, item in value.items())
        return copy
    if kind is tuple:
        parts = tuple(_detach(item, copies) for item in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    if kind is set or kind is bytearray:
        return kind(value)
    if "numpy" in sys.modules and arrays.owns(value):
        return arrays.copy(value)
    return value
