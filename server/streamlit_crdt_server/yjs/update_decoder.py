"""The form of a Yjs update (v1), checked before any of it reaches pycrdt.

A decoder in Rust is fast and trusts its input: measured with pycrdt 0.14.13, an update with 100 000 nested
arrays (200 kB) overflows the stack and ends the process, with no exception to catch; a struct of length 0
panics and spoils the document for ever; an 18-byte state vector allocates 1 GB. So lengths, counts and depth
are walked through here first. What a struct *means* is left to pycrdt, but for what `UpdateMeta` notes.

The layout is that of Yjs' `UpdateEncoderV1` (https://github.com/yjs/yjs, `src/utils/encoding.js`) and of
lib0's `writeAny`. A content type that Yjs 13 does not know is refused: a browser could not read it either.

What of an update matters besides its values: how far it reaches, and between what it puts its structs.

Most structs continue the one before them. Only those that do not are noted ("loose" ones), so that a large
paste costs next to nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from struct import Struct

from streamlit_crdt_server.yjs.lib0 import Walk

Unit = tuple[int, int]
"""A replica id and a clock: one place of one element."""

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NOWHERE = (-1, -1)
_LOOSE = Struct("=8q")


class UpdateMeta:
    """The shape of one update.

    Attributes:
        reach: The clock up to which it inserts or deletes, per replica id.
        blocks: For each replica with structs, its loose structs (first and one past the last), and its clocks.
        structs: How many there are.
        deletions: Replica id, first clock and end of what it deletes, one after the other.
        halves: For each replica, at which clocks the second half of a character of two units lies.
    """

    def __init__(self) -> None:
        """Begin with an empty one."""
        self.reach: dict[int, int] = {}
        self.blocks: dict[int, tuple[int, int, int, int]] = {}
        self.structs = 0
        self.deletions = array("q")
        self.halves: dict[int, array[int]] = {}
        self._gaps: dict[int, int] = {}
        self._loose = bytearray()
        self._places: dict[object, int] = {}
        self._right: Unit | None = _NOWHERE
        self._begun = (0, 0)

    @property
    def loose_count(self) -> int:
        """How many structs do not continue the one before them."""
        return len(self._loose) // _LOOSE.size

    @property
    def contenders(self) -> int:
        """How many structs may compete for their place: not those which are alone at a place, such as a key."""
        return 2 * (self.loose_count - len(self._places))

    def begin(self, replica: int, clock: int) -> None:
        """Note that the structs of a replica begin."""
        if replica in self.blocks:
            raise ValueError("the structs of one replica come twice")
        self._right = _NOWHERE
        self._begun = (self.loose_count, clock)

    def end(self, replica: int, clock: int) -> None:
        """Note that they ended before `clock`."""
        first, start = self._begun
        self.blocks[replica] = (first, self.loose_count, start, clock)
        self._note(replica, clock)

    def insert(self, unit: Unit, left: Unit | None, right: Unit | None, place: object) -> None:
        """Note a struct between two units, or at a place that has none yet."""
        before = self.structs
        self.structs = before + 1
        if left is not None and left[1] == unit[1] - 1 and left[0] == unit[0] and right == self._right:
            return
        self._right = right
        number = -1 if place is None else self._places.setdefault(place, len(self._places))
        self._loose += _LOOSE.pack(*unit, *(left or _NOWHERE), *(right or _NOWHERE), number, before)

    def delete(self, replica: int, start: int, end: int) -> None:
        """Note a deletion."""
        self.deletions.extend((replica, start, end))
        self._note(replica, end)

    def skip(self, replica: int, clock: int) -> None:
        """Note that a part of what the replica wrote is missing from `clock` on."""
        self._gaps.setdefault(replica, clock)

    def solid(self) -> dict[int, int]:
        """Return up to which clock it inserts without a gap, per replica id; a document has what is beyond as well."""
        return {replica: self._gaps.get(replica, end) for replica, (_, _, _, end) in self.blocks.items()}

    def note_text(self, replica: int, clock: int, text: str) -> None:
        """Note where a text that begins at `clock` has characters of two units."""
        found = [clock + match.start() + 1 + index for index, match in enumerate(_ASTRAL.finditer(text))]
        if found:
            self.halves.setdefault(replica, array("q")).extend(found)

    def loose(self, index: int) -> tuple[Unit, Unit | None, Unit | None, int, int]:
        """Return a loose struct: its unit, its neighbours, its place or -1, and how many structs came before."""
        a, b, c, d, e, f, place, before = _LOOSE.unpack_from(self._loose, index * _LOOSE.size)
        return (a, b), None if c < 0 else (c, d), None if e < 0 else (e, f), place, before

    def seams(self) -> Iterator[Unit]:
        """Return before which units it inserts something, so that what lies there is split."""
        for index in range(self.loose_count):
            _, left, right, _, _ = self.loose(index)
            if left is not None:
                yield left[0], left[1] + 1
            if right is not None:
                yield right

    def advance(self, clocks: dict[int, int]) -> None:
        """Bring a state vector to where it is once this update is applied."""
        for replica, (_, _, start, end) in self.blocks.items():
            if start <= clocks.get(replica, 0) < end:
                clocks[replica] = end

    def _note(self, replica: int, clock: int) -> None:
        if clock > self.reach.get(replica, 0):
            self.reach[replica] = clock


_HAS_LEFT, _HAS_RIGHT, _HAS_PARENT_KEY, _CONTENT = 0x80, 0x40, 0x20, 0x1F
_COLLECTED, _SKIPPED = 0, 10
_NAMED_TYPES = (3, 5)
_TYPE_COUNT = 7


def check_update(update: bytes) -> dict[int, int]:
    """Return how far `update` reaches: the clock up to which it inserts or deletes, per replica id.

    Raises:
        ValueError: it is not well formed to its last byte; the text says what is wrong.
    """
    return read_update_meta(update).reach


def read_update_meta(update: bytes) -> UpdateMeta:
    """Return what else than its values a room has to know of `update`; raises as `check_update`."""
    walk = UpdateDecoder(update)
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


class UpdateDecoder(Walk):
    """A walk through the structs and deletions of an update, which notes its shape."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.shape = UpdateMeta()
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


_CONTENTS: dict[int, Callable[[UpdateDecoder], int]] = {
    1: UpdateDecoder.positive,  # deleted
    2: UpdateDecoder._json,
    3: UpdateDecoder.buffer,
    4: UpdateDecoder._string,
    5: UpdateDecoder._embed,
    6: UpdateDecoder._format,
    7: UpdateDecoder._type,
    8: UpdateDecoder._anys,
    9: UpdateDecoder._subdocument,
}
