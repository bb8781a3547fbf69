"""The form of a Yjs update (v1), checked before any of it reaches pycrdt.

A decoder in Rust is fast and trusts its input: measured with pycrdt 0.14.13, an update with 100 000 nested
arrays (200 kB) overflows the stack and ends the process, with no exception to catch; a struct of length 0
panics and spoils the document for ever; an 18-byte state vector allocates 1 GB. So lengths, counts and depth
are walked through here first. What a struct *means* is left to pycrdt.

The layout is that of Yjs' `UpdateEncoderV1` (https://github.com/yjs/yjs, `src/utils/encoding.js`) and of
lib0's `writeAny`. A content type that Yjs 13 does not know is refused: a browser could not read it either.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_ANY_DEPTH = 512
"""Levels of nesting of a stored value: several per level of a Python value, far from the stack's end."""

_MAX_VARINT_BYTES = 8
_HAS_LEFT, _HAS_RIGHT, _HAS_PARENT_KEY, _CONTENT = 0x80, 0x40, 0x20, 0x1F
_ANY_BYTES = {127: 0, 126: 0, 121: 0, 120: 0, 124: 4, 123: 8, 122: 8}
_ANY_VARINT, _ANY_STRING, _ANY_OBJECT, _ANY_ARRAY, _ANY_BUFFER = 125, 119, 118, 117, 116
_NAMED_TYPES = (3, 5)
_TYPE_COUNT = 7


def check_update(update: bytes) -> dict[int, int]:
    """Return how far `update` reaches: the clock up to which it inserts or deletes, per replica id.

    Raises:
        ValueError: it is not well formed to its last byte; the text says what is wrong.
    """
    walk = _Walk(update)
    walk.update()
    return walk.reach


def check_state_vector(vector: bytes) -> dict[int, int]:
    """Return the clock per replica id. Raises ValueError unless `vector` is well formed to its last byte."""
    walk = _Walk(vector)
    clocks = {}
    for _ in range(walk.count()):
        replica = walk.number()
        clocks[replica] = walk.number()
    walk.end()
    return clocks


class _Walk:
    """A position in the bytes; every method steps over one element and raises ValueError where it cannot."""

    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self._at = 0
        self.reach: dict[int, int] = {}

    def update(self) -> None:
        for _ in range(self.count()):
            structs = self.count()
            replica, clock = self.number(), self.number()
            for _ in range(structs):
                clock += self._struct()
            self._note(replica, clock)
        for _ in range(self.count()):
            replica = self.number()
            for _ in range(self.count()):
                clock = self.number()
                self._note(replica, clock + self.positive())
        self.end()

    def _note(self, replica: int, clock: int) -> None:
        if clock > self.reach.get(replica, 0):
            self.reach[replica] = clock

    def end(self) -> None:
        if self._at != len(self._bytes):
            raise ValueError(f"{len(self._bytes) - self._at} bytes follow its end")

    def number(self) -> int:
        """Step over a variable-length unsigned integer of at most 53 bits."""
        value = self._byte()
        if value < 0x80:
            return value
        value &= 0x7F
        for index in range(1, _MAX_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value >= 2**53:
                    break
                return value
        raise ValueError(f"the number before byte {self._at} has more than 53 bits")

    def count(self) -> int:
        """Step over a count of elements, each at least a byte, so that it cannot claim more than there is."""
        count = self.number()
        if count > len(self._bytes) - self._at:
            raise ValueError(f"the count before byte {self._at} is larger than what follows")
        return count

    def positive(self) -> int:
        length = self.number()
        if length == 0:
            raise ValueError(f"an element before byte {self._at} has length 0")
        return length

    def pair(self) -> None:
        self.number()
        self.number()

    def _byte(self) -> int:
        try:
            byte = self._bytes[self._at]
        except IndexError:
            raise ValueError("it ends too soon") from None
        self._at += 1
        return byte

    def _skip(self, length: int) -> None:
        if length > len(self._bytes) - self._at:
            raise ValueError("it ends too soon")
        self._at += length

    def _text(self) -> str:
        length = self.number()
        start = self._at
        self._skip(length)
        return self._bytes[start : self._at].decode()

    def _struct(self) -> int:
        """Step over a struct and return its length on its replica's clock."""
        information = self._byte()
        if information in (0, 10):  # garbage collected, skipped
            return self.positive()
        if information & _HAS_LEFT:
            self.pair()
        if information & _HAS_RIGHT:
            self.pair()
        if not information & (_HAS_LEFT | _HAS_RIGHT):
            self._parent(bool(information & _HAS_PARENT_KEY))
        content = _CONTENTS.get(information & _CONTENT)
        if content is None:
            raise ValueError(f"content type {information & _CONTENT} is unknown")
        return content(self)

    def _parent(self, has_key: bool) -> None:
        named = self.number()
        if named > 1:
            raise ValueError("a parent is neither a name nor an id")
        if named:
            self._text()
        else:
            self.pair()
        if has_key:
            self._text()

    def _json(self) -> int:
        count = self._positive_count()
        for _ in range(count):
            self._text()
        return count

    def _buffer(self) -> int:
        self._skip(self.number())
        return 1

    def _string(self) -> int:
        text = self._text()
        if not text:
            raise ValueError("a text is empty")
        return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2

    def _embed(self) -> int:
        self._text()
        return 1

    def _format(self) -> int:
        self._text()
        self._text()
        return 1

    def _type(self) -> int:
        kind = self.number()
        if kind >= _TYPE_COUNT:
            raise ValueError(f"shared type {kind} is unknown")
        if kind in _NAMED_TYPES:
            self._text()
        return 1

    def _anys(self) -> int:
        count = self._positive_count()
        for _ in range(count):
            self._any(0)
        return count

    def _subdocument(self) -> int:
        self._text()
        self._any(0)
        return 1

    def _positive_count(self) -> int:
        count = self.count()
        if count == 0:
            raise ValueError(f"an element before byte {self._at} has length 0")
        return count

    def _any(self, depth: int) -> None:
        if depth > MAX_ANY_DEPTH:
            raise ValueError(f"a value is nested deeper than {MAX_ANY_DEPTH} levels")
        kind = self._byte()
        if kind in _ANY_BYTES:
            self._skip(_ANY_BYTES[kind])
        elif kind == _ANY_STRING:
            self._text()
        elif kind == _ANY_BUFFER:
            self._buffer()
        elif kind == _ANY_VARINT:
            self._signed()
        elif kind == _ANY_ARRAY:
            for _ in range(self.count()):
                self._any(depth + 1)
        elif kind == _ANY_OBJECT:
            for _ in range(self.count()):
                self._text()
                self._any(depth + 1)
        else:
            raise ValueError(f"a value of kind {kind} is unknown")

    def _signed(self) -> None:
        for _ in range(_MAX_VARINT_BYTES + 2):  # 64 bits, written by pycrdt as well as by Yjs
            if self._byte() < 0x80:
                return
        raise ValueError(f"the number before byte {self._at} has more than 64 bits")


_CONTENTS: dict[int, Callable[[_Walk], int]] = {
    1: _Walk.positive,  # deleted
    2: _Walk._json,
    3: _Walk._buffer,
    4: _Walk._string,
    5: _Walk._embed,
    6: _Walk._format,
    7: _Walk._type,
    8: _Walk._anys,
    9: _Walk._subdocument,
}
