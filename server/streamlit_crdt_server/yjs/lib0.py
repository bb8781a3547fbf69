"""A position in the bytes of an update, and the elements of lib0 at it. Nothing is believed that is announced.

Every method steps over one element, and raises ValueError where it cannot.

lib0's encoding of numbers, bytes and texts, with every length checked. No I/O.

The layout is that of https://github.com/dmonad/lib0 (`encoding.js`, `decoding.js`).
"""

from __future__ import annotations

from streamlit_crdt_server.errors import MalformedFrameError

EMPTY_UPDATE = b"\x00\x00"
"""A Yjs update without structs and without deletions."""

MAX_VARUINT = 2**53 - 1
"""What a JavaScript number holds exactly; ids, clocks and lengths of Yjs never exceed it."""


class Decoder:
    """A position in some bytes; every read checks that what it needs is there."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._content) - self._at

    def varuint(self, maximum: int = MAX_VARUINT) -> int:
        """Read a lib0 variable-length unsigned integer of at most `maximum`."""
        value = shift = 0
        while True:
            if self._at >= len(self._content):
                raise MalformedFrameError("it ends within a number")
            byte = self._content[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if value > maximum or shift > 49:
                raise MalformedFrameError(f"a number is larger than {maximum}")
            if byte < 0x80:
                return value
            shift += 7

    def block(self) -> bytes:
        """Read a length and so many bytes."""
        length = self.varuint()
        if length > self.remaining:
            raise MalformedFrameError(f"{length} bytes are announced where {self.remaining} follow")
        start = self._at
        self._at += length
        return self._content[start : self._at]

    def text(self) -> str:
        try:
            return self.block().decode()
        except UnicodeDecodeError as error:
            raise MalformedFrameError("a text is not UTF-8") from error

    def end(self) -> None:
        if self.remaining:
            raise MalformedFrameError(f"{self.remaining} bytes follow its end")


def varuint(number: int) -> bytes:
    """Encode a lib0 variable-length unsigned integer."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def block(content: bytes) -> bytes:
    """Encode a length and the bytes."""
    return varuint(len(content)) + content


MAX_ANY_DEPTH = 512
"""Levels of nesting of a stored value: several per level of a Python value, far from the stack's end."""

_MAX_VARINT_BYTES = 8
_ANY_BYTES = {127: 0, 126: 0, 121: 0, 120: 0, 124: 4, 123: 8, 122: 8}
_ANY_VARINT, _ANY_STRING, _ANY_OBJECT, _ANY_ARRAY, _ANY_BUFFER = 125, 119, 118, 117, 116


class Walk:
    """A position in some bytes."""

    def __init__(self, content: bytes) -> None:
        """Begin at their start."""
        self._bytes = content
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._bytes):
            raise ValueError(f"{len(self._bytes) - self._at} bytes follow its end")

    def number(self) -> int:
        """Step over a variable-length unsigned integer of at most 53 bits."""
        value = self.byte()
        if value < 0x80:
            return value
        value &= 0x7F
        for index in range(1, _MAX_VARINT_BYTES):
            byte = self.byte()
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

    def byte(self) -> int:
        try:
            byte = self._bytes[self._at]
        except IndexError:
            raise ValueError("it ends too soon") from None
        self._at += 1
        return byte

    def skip(self, length: int) -> None:
        if length > len(self._bytes) - self._at:
            raise ValueError("it ends too soon")
        self._at += length

    def text(self) -> str:
        length = self.number()
        start = self._at
        self.skip(length)
        return self._bytes[start : self._at].decode()

    def buffer(self) -> int:
        self.skip(self.number())
        return 1

    def positive_count(self) -> int:
        count = self.count()
        if count == 0:
            raise ValueError(f"an element before byte {self._at} has length 0")
        return count

    def any_value(self, depth: int) -> None:
        if depth > MAX_ANY_DEPTH:
            raise ValueError(f"a value is nested deeper than {MAX_ANY_DEPTH} levels")
        kind = self.byte()
        if kind in _ANY_BYTES:
            self.skip(_ANY_BYTES[kind])
        elif kind == _ANY_STRING:
            self.text()
        elif kind == _ANY_BUFFER:
            self.buffer()
        elif kind == _ANY_VARINT:
            self._signed()
        elif kind == _ANY_ARRAY:
            for _ in range(self.count()):
                self.any_value(depth + 1)
        elif kind == _ANY_OBJECT:
            for _ in range(self.count()):
                self.text()
                self.any_value(depth + 1)
        else:
            raise ValueError(f"a value of kind {kind} is unknown")

    def _signed(self) -> None:
        for _ in range(_MAX_VARINT_BYTES + 2):  # 64 bits, written by pycrdt as well as by Yjs
            if self.byte() < 0x80:
                return
        raise ValueError(f"the number before byte {self._at} has more than 64 bits")
