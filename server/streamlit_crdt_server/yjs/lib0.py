"""lib0's encoding of numbers, bytes, texts and JSON-like values. No I/O.

The decoder trusts nothing that the bytes announce: it checks every length and count against the bytes that
remain. The layout is that of https://github.com/dmonad/lib0 (`encoding.js`, `decoding.js`).
"""

from __future__ import annotations

from streamlit_crdt_server.yjs.pacing import PAUSE_EVERY, pause

EMPTY_UPDATE = b"\x00\x00"
"""A Yjs update without structs and without deletions."""

MAX_VARUINT = 2**53 - 1
"""Largest integer that a JavaScript number represents exactly. Ids, clocks and lengths of Yjs never exceed it."""

MAX_ANY_DEPTH = 256
"""Levels of nesting of a stored value. A Python value of 64 levels takes up to 195. Functions that walk a value recurse
with up to three frames per level, and Python allows 1000."""

_MAX_VARUINT_SHIFT = 49
"""Bit position of the eighth byte of a varuint, the last one that 53 bits can need."""

_MAX_SIGNED_BYTES = 10
"""pycrdt and Yjs write signed integers of up to 64 bits."""

_ANY_FIXED_BYTES = {127: 0, 126: 0, 121: 0, 120: 0, 124: 4, 123: 8, 122: 8}
_ANY_VARINT, _ANY_STRING, _ANY_OBJECT, _ANY_ARRAY, _ANY_BUFFER = 125, 119, 118, 117, 116


class DecodeError(ValueError):
    """Raised when bytes do not follow the encoding or exceed a limit. Its text says what is wrong."""


class Decoder:
    """A cursor over bytes.

    Each method consumes one element. It raises DecodeError if the element is malformed, exceeds its limit, or needs
    more bytes than remain. The position is undefined after an error.
    """

    def __init__(self, content: bytes, start: int = 0) -> None:
        self._bytes = content
        self._at = start
        self._max_elements = self._elements_left = MAX_VARUINT

    @property
    def position(self) -> int:
        """Index of the next byte."""
        return self._at

    @property
    def remaining(self) -> int:
        """Number of bytes after the cursor."""
        return len(self._bytes) - self._at

    def read_byte(self) -> int:
        try:
            byte = self._bytes[self._at]
        except IndexError:
            raise DecodeError("the bytes end too soon") from None
        self._at += 1
        return byte

    def read_varuint(self, maximum: int = MAX_VARUINT) -> int:
        """Read an unsigned integer of variable length that is at most `maximum`."""
        content, at = self._bytes, self._at
        try:
            value = content[at]
            if value >= 0x80:
                value &= 0x7F
                shift = 7
                while (byte := content[at := at + 1]) >= 0x80:
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if shift > _MAX_VARUINT_SHIFT:
                        raise DecodeError(f"the number at byte {self._at} has more than 53 bits")
                value |= byte << shift
        except IndexError:
            raise DecodeError("the bytes end within a number") from None
        if value > maximum:
            raise DecodeError(f"the number at byte {self._at} is larger than {maximum}")
        self._at = at + 1
        return value

    def read_positive(self) -> int:
        """Read a varuint that must not be 0."""
        value = self.read_varuint()
        if value == 0:
            raise DecodeError(f"an element before byte {self._at} has length 0")
        return value

    def read_count(self, min_element_bytes: int = 1) -> int:
        """Read the number of the elements that follow, and check that as many can fit into the remaining bytes."""
        count = self.read_varuint()
        if count * min_element_bytes > len(self._bytes) - self._at:
            raise DecodeError(
                f"the count before byte {self._at} is larger than the number of bytes that follow"
            )
        return count

    def skip(self, length: int) -> None:
        """Move the cursor forward by `length` bytes."""
        if length > len(self._bytes) - self._at:
            raise DecodeError(f"{length} bytes are announced, but {self.remaining} follow")
        self._at += length

    def read_bytes(self, max_bytes: int = MAX_VARUINT) -> bytes:
        """Read a length of at most `max_bytes`, and the bytes that it announces."""
        length = self.read_varuint(max_bytes)
        start = self._at
        self.skip(length)
        return self._bytes[start : self._at]

    def read_text(self) -> str:
        """Read a length and a UTF-8 text."""
        length = self.read_varuint()
        start = self._at
        self._at = end = start + length
        if end > len(self._bytes):
            raise DecodeError(f"a text of {length} bytes is longer than the bytes that follow")
        try:
            return self._bytes[start:end].decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"the text at byte {start} is not UTF-8") from error

    def read_rest(self) -> bytes:
        """Read all remaining bytes."""
        start, self._at = self._at, len(self._bytes)
        return self._bytes[start:]

    def skip_any(self, depth: int = 0) -> None:
        """Skip a value written by lib0's `writeAny`, which lies `depth` levels below the outermost value."""
        if depth > MAX_ANY_DEPTH:
            raise DecodeError(f"a value is nested deeper than {MAX_ANY_DEPTH} levels")
        kind = self.read_byte()
        if kind in _ANY_FIXED_BYTES:
            self.skip(_ANY_FIXED_BYTES[kind])
        elif kind == _ANY_STRING:
            self.read_text()
        elif kind == _ANY_BUFFER:
            self.skip(self.read_varuint())
        elif kind == _ANY_VARINT:
            self._skip_signed()
        elif kind == _ANY_ARRAY:
            for index in range(self._read_size(depth)):
                self.skip_any(depth + 1)
                if not index % PAUSE_EVERY:
                    pause()
        elif kind == _ANY_OBJECT:
            for index in range(self._read_size(depth)):
                self.read_text()
                self.skip_any(depth + 1)
                if not index % PAUSE_EVERY:
                    pause()
        else:
            raise DecodeError(f"value type {kind} is unknown")

    def _read_size(self, depth: int) -> int:
        """Read the number of elements of an array or object `depth` levels below the outermost value."""
        count = self.read_count()
        self._elements_left = (self._elements_left if depth else self._max_elements) - count
        if self._elements_left < 0:
            raise DecodeError("a value has too many elements")
        return count

    def expect_end(self) -> None:
        """Raise DecodeError if bytes remain."""
        if self.remaining:
            raise DecodeError(f"{self.remaining} bytes follow the end")

    def _skip_signed(self) -> None:
        for _ in range(_MAX_SIGNED_BYTES):
            if self.read_byte() < 0x80:
                return
        raise DecodeError(f"the number before byte {self._at} has more than 64 bits")


def encode_varuint(number: int) -> bytes:
    """Encode an unsigned integer of variable length."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_bytes(content: bytes) -> bytes:
    """Encode a length and the bytes."""
    return encode_varuint(len(content)) + content
