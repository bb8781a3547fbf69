"""The form of a Yjs update (v1), checked before any of it reaches pycrdt.

A decoder in Rust is fast and trusts its input: measured with pycrdt 0.14.13, an update with 100 000 nested
arrays (200 kB) overflows the stack and ends the process, with no exception to catch; a struct of length 0
panics and spoils the document for ever; an 18-byte state vector allocates 1 GB. So lengths, counts and depth
are walked through here first. What a struct *means* is left to pycrdt, but for what `Shape` notes.

The layout is that of Yjs' `UpdateEncoderV1` (https://github.com/yjs/yjs, `src/utils/encoding.js`) and of
lib0's `writeAny`. A content type that Yjs 13 does not know is refused: a browser could not read it either.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlit_crdt_server.shape import Shape, Unit
from streamlit_crdt_server.walk import Walk

_HAS_LEFT, _HAS_RIGHT, _HAS_PARENT_KEY, _CONTENT = 0x80, 0x40, 0x20, 0x1F
_COLLECTED, _SKIPPED = 0, 10
_NAMED_TYPES = (3, 5)
_TYPE_COUNT = 7


def check_update(update: bytes) -> dict[int, int]:
    """Return how far `update` reaches: the clock up to which it inserts or deletes, per replica id.

    Raises:
        ValueError: it is not well formed to its last byte; the text says what is wrong.
    """
    return read_shape(update).reach


def read_shape(update: bytes) -> Shape:
    """Return what else than its values a room has to know of `update`; raises as `check_update`."""
    walk = UpdateWalk(update)
    walk.update()
    return walk.shape


def check_state_vector(vector: bytes) -> dict[int, int]:
    """Return the clock per replica id. Raises ValueError unless `vector` is well formed to its last byte."""
    walk = Walk(vector)
    clocks = {}
    for _ in range(walk.count()):
        replica = walk.number()
        clocks[replica] = walk.number()
    walk.end()
    return clocks


class UpdateWalk(Walk):
    """A walk through the structs and deletions of an update, which notes its shape."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.shape = Shape()
        self._replica = self._clock = 0
        self._content_at = self._deletions_at = 0

    def update(self) -> None:
        for _ in range(self.count()):
            structs = self.count()
            self._replica, self._clock = self.number(), self.number()
            self.begin_block(self._replica, self._clock)
            for _ in range(structs):
                self._clock += self.struct()
            self.shape.end(self._replica, self._clock)
        self._deletions_at = self._at
        for _ in range(self.count()):
            replica = self.number()
            for _ in range(self.count()):
                clock = self.number()
                self.shape.delete(replica, clock, clock + self.positive())
        self.end()

    def begin_block(self, replica: int, clock: int) -> None:
        """Note that the structs of a replica begin."""
        self.shape.begin(replica, clock)

    def struct(self) -> int:
        """Step over a struct and return its length on its replica's clock."""
        information = self.byte()
        if information in (_COLLECTED, _SKIPPED):
            self.shape.structs += 1
            if information == _SKIPPED:
                self.shape.skip(self._replica, self._clock)
            self._content_at = self._at
            return self.positive()
        left: Unit | None = (self.number(), self.number()) if information & _HAS_LEFT else None
        right: Unit | None = (self.number(), self.number()) if information & _HAS_RIGHT else None
        place: tuple[Unit | str, ...] | None = None
        if left is None and right is None:
            place = self._parent(bool(information & _HAS_PARENT_KEY))
        self.shape.insert((self._replica, self._clock), left, right, place)
        self._content_at = self._at
        content = _CONTENTS.get(information & _CONTENT)
        if content is None:
            raise ValueError(f"content type {information & _CONTENT} is unknown")
        return content(self)

    def _parent(self, has_key: bool) -> tuple[Unit | str, ...]:
        """Step over the place of a struct that has no neighbours, and return what tells it from others."""
        named = self.number()
        if named > 1:
            raise ValueError("a parent is neither a name nor an id")
        parent: Unit | str = self.text() if named else (self.number(), self.number())
        return (parent, self.text()) if has_key else (parent,)

    def _json(self) -> int:
        count = self.positive_count()
        for _ in range(count):
            self.text()
        return count

    def _string(self) -> int:
        text = self.text()
        if not text:
            raise ValueError("a text is empty")
        if text.isascii():
            return len(text)
        self.shape.note_text(self._replica, self._clock, text)
        return len(text.encode("utf-16-le")) // 2

    def _embed(self) -> int:
        self.text()
        return 1

    def _format(self) -> int:
        self.text()
        self.text()
        return 1

    def _type(self) -> int:
        kind = self.number()
        if kind >= _TYPE_COUNT:
            raise ValueError(f"shared type {kind} is unknown")
        if kind in _NAMED_TYPES:
            self.text()
        return 1

    def _anys(self) -> int:
        count = self.positive_count()
        for _ in range(count):
            self.any_value(0)
        return count

    def _subdocument(self) -> int:
        self.text()
        self.any_value(0)
        return 1


_CONTENTS: dict[int, Callable[[UpdateWalk], int]] = {
    1: UpdateWalk.positive,  # deleted
    2: UpdateWalk._json,
    3: UpdateWalk.buffer,
    4: UpdateWalk._string,
    5: UpdateWalk._embed,
    6: UpdateWalk._format,
    7: UpdateWalk._type,
    8: UpdateWalk._anys,
    9: UpdateWalk._subdocument,
}
