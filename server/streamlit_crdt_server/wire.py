"""lib0's encoding of numbers, bytes and texts, with every length checked. No I/O.

The layout is that of https://github.com/dmonad/lib0 (`encoding.js`, `decoding.js`).
"""

from __future__ import annotations

from streamlit_crdt_server.errors import MalformedFrameError

MAX_VARUINT = 2**53 - 1
"""What a JavaScript number holds exactly; ids, clocks and lengths of Yjs never exceed it."""


class Reader:
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
