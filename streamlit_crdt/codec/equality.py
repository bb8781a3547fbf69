"""Equality of shared values, and deep copies to compare against later.

A value has changed if `equal` is False; only then is it sent. Python's `==` does not serve here: it ignores
differences (`True == 1 == 1.0`, times in different zones), reports nan as a change, and raises or returns an array for
numpy and pandas values.
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
from streamlit_crdt.codec.live_values import LiveValue, plain

MAX_DEPTH = 64
"""Limit of nesting in levels. A deeper value is rejected, and so is a value that contains itself."""

_MAX_COMPARED_DEPTH = 4 * MAX_DEPTH
"""Limit for `equal` in levels. Encoded trees are compared too, and a tag takes up to three levels of a tree."""

_EXACT = frozenset({type(None), bool, int, str, bytes})
"""Types for which `==` between two values of the same type is exact. Their subclasses are not included."""

IMMUTABLE = frozenset({type(None), bool, int, float, str, bytes, complex, range, datetime, time, Decimal})
"""Types whose values never change. The same object is the same value."""


def equal(left: object, right: object) -> bool:
    """Return whether both values have the same type and content at every level.

    Enum members are compared by module, qualified name and member name, because each script run creates new Enum
    classes. The order of the keys of a dict does not count. Two values that cannot be compared are different.
    """
    try:
        return _are_equal(left, right, 0)
    except RecursionError:
        return False


def deep_copy(value: Any) -> Any:
    """Return a copy that shares no mutable part with `value`. An immutable value is returned itself."""
    return value if type(value) in IMMUTABLE else _copy(value, {})


def _are_equal(left: Any, right: Any, depth: int) -> bool:
    if left is right:
        return True
    kind = type(left)
    if kind is type(right) and (kind in _EXACT or kind is float):
        return bool(left == right) if kind in _EXACT else _floats_equal(left, right)
    if isinstance(left, Enum) or isinstance(right, Enum):
        return _token(left) == _token(right)
    if isinstance(left, LiveValue) or isinstance(right, LiveValue):
        return _are_equal(plain(left), plain(right), depth)
    if kind is not type(right):
        return False
    if depth > _MAX_COMPARED_DEPTH:
        raise RecursionError
    if kind is list or kind is tuple:
        return len(left) == len(right) and all(
            _are_equal(a, b, depth + 1) for a, b in zip(left, right, strict=True)
        )
    if kind is dict:
        return _dicts_equal(left, right, depth + 1)
    if kind is set or kind is frozenset:
        return Counter(map(_token, left)) == Counter(map(_token, right))
    if arrays.owns(left):
        return arrays.are_equal(left, right, lambda a, b: _are_equal(a, b, depth + 1))
    if kind.__hash__ is None:
        return _equal_by_operator(left, right)
    return _equal_by_token(left, right)


def _floats_equal(left: float, right: float) -> bool:
    """Return whether both are nan, or equal numbers with the same sign: 0.0 differs from -0.0."""
    if left == right:
        return left != 0 or copysign(1.0, left) == copysign(1.0, right)
    return isnan(left) and isnan(right)


def _dicts_equal(left: dict[Any, Any], right: dict[Any, Any], depth: int) -> bool:
    if len(left) != len(right):
        return False
    if not all(type(key) is str for key in left):
        left = {_token(key): value for key, value in left.items()}
        right = {_token(key): value for key, value in right.items()}
    if left.keys() != right.keys() or any(type(key) is not str and type(key) is not tuple for key in right):
        return False
    return all(_are_equal(value, right[key], depth) for key, value in left.items())


def _equal_by_token(left: Any, right: Any) -> bool:
    try:
        return bool(_token(left) == _token(right))
    except Exception:
        # `__eq__` and `__hash__` of an app's class may raise any exception. The value counts as changed.
        return False


def _equal_by_operator(left: Any, right: Any) -> bool:
    try:
        return (left == right) is True
    except Exception:  # as in `_equal_by_token`
        return False


def _token(value: Any) -> Hashable:
    """Return a hashable token. The tokens of two hashable values are `==` exactly if the values are `equal`."""
    kind = type(value)
    if kind in _EXACT:
        return (kind, value)
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


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in IMMUTABLE:
        return value
    if id(value) in copies:
        return copies[id(value)]
    if kind is list:
        copy: Any = []
        copies[id(value)] = copy
        copy.extend(_copy(item, copies) for item in value)
        return copy
    if kind is dict:
        copy = {}
        copies[id(value)] = copy
        copy.update((key, _copy(item, copies)) for key, item in value.items())
        return copy
    if kind is tuple:
        parts = tuple(_copy(item, copies) for item in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    if kind is set or kind is bytearray:
        return kind(value)
    if "numpy" in sys.modules and arrays.owns(value):
        return arrays.copy(value)
    return _copy(plain(value), copies) if isinstance(value, LiveValue) else value
