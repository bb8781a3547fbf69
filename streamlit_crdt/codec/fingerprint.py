"""Fingerprints of mutable values: evidence that a value has not changed, at a fraction of the time of a comparison.

A fingerprint may miss that two values are equal. It never takes two different values for equal ones.

- Lists, dicts and sets of plain values: their bytes in the format of `marshal`, which contain each type and value. The
  module writes any object with a buffer, such as a numpy scalar, as bytes. A value that contains bytes has therefore no
  fingerprint: without them, no other value has the same bytes.
- Arrays and frames: a copy. Comparing the bits of two arrays takes a tenth of a millisecond per megabyte.
"""

from __future__ import annotations

import marshal
import sys
from typing import Any, Final, Protocol

from streamlit_crdt.codec import arrays
from streamlit_crdt.codec.equality import deep_copy, equal

MAX_DEPTH: Final = 64
"""Limit of nesting in levels. A deeper value has no fingerprint."""

_VERSION: Final = 2
"""Version of the format of `marshal`. Later ones refer to equal objects, so that equal values have different bytes."""

_LEAVES: Final = frozenset({type(None), bool, int, float, str})


class Fingerprint(Protocol):
    """Fingerprint of one value."""

    def matches(self, value: Any) -> bool:
        """Return whether `value` certainly equals the value of the fingerprint."""
        ...


def fingerprint(value: Any) -> Fingerprint | None:
    """Return the fingerprint of a value, None if it has none. The value may change later."""
    if type(value) in (list, dict, set, tuple) and _is_plain(value, 0):
        return PlainFingerprint(value)
    if "numpy" in sys.modules and arrays.owns(value):
        return _CopyFingerprint(value)
    return None


class PlainFingerprint:
    """The type and the bytes of a value."""

    def __init__(self, value: Any) -> None:
        self._bytes = marshal.dumps(value, _VERSION)
        self._length = len(value)

    def count_appended(self, value: Any) -> int:
        """Return the number of items that were appended to a list. 0 if anything else has changed."""
        count = len(value) - self._length if type(value) is list else 0
        return count if count > 0 and self.matches(value[:-count]) else 0

    def with_appended(self, value: Any, count: int) -> Fingerprint | None:
        """Return the fingerprint of a list after `count` items were appended, see `fingerprint`."""
        is_plain = all(_is_plain(item, 1) for item in value[len(value) - count :])
        return PlainFingerprint(value) if is_plain else None

    def matches(self, value: Any) -> bool:
        try:
            return marshal.dumps(value, _VERSION) == self._bytes
        except ValueError:  # an object without such a form, or a value that is nested too deeply
            return False


class _CopyFingerprint:
    """A copy of an array or a frame."""

    def __init__(self, value: Any) -> None:
        self._copy = deep_copy(value)

    def matches(self, value: Any) -> bool:
        return equal(value, self._copy)


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _LEAVES:
        return True
    if depth > MAX_DEPTH:
        return False
    if kind in (list, tuple, set):
        return all(type(item) in _LEAVES or _is_plain(item, depth + 1) for item in value)
    return kind is dict and all(
        type(key) in _LEAVES and (type(item) in _LEAVES or _is_plain(item, depth + 1))
        for key, item in value.items()
    )
