"""An update taken apart into its structs, so that some of them can be left out.

Joining the structs of an update that continue each other into one, before pycrdt does so.

Ten thousand values that were appended to a list one by one, and whose updates were merged, are ten thousand
structs. pycrdt 0.14.13 makes one of them when a transaction ends, and copies what it has so far for each: 100 kB
take 2 s, and twice as much takes four times as long. Here that is linear.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from streamlit_crdt_server.yjs.lib0 import varuint
from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateDecoder

MANY = 256
"""So few structs that continue others cost a millisecond at most."""

MAX_JOINED = 4096
"""A joined struct is not longer than this: whatever is deleted within it costs a copy of it."""

_COLLECTED, _DELETED, _STRING, _ANYS = 0, 1, 4, 8
_HAS_PARENT_KEY = 0x20


def merge_structs(update: bytes) -> bytes:
    """Return an update that does the same with fewer structs; itself if there is nothing to join.

    Raises:
        ValueError: it is not well formed to its last byte.
    """
    walk = _Joining(update)
    walk.update()
    return walk.joined() if walk.continuing > MANY else update


@dataclass(slots=True)
class _Struct:
    """What is written: everything before the content; how much content there is; and the content."""

    kind: int
    head: bytes
    count: int
    parts: list[bytes] = field(default_factory=list)
    structs: int = 1

    def encode(self, parts: list[bytes]) -> None:
        parts.append(self.head)
        if self.kind in _JOINABLE:
            parts.append(varuint(self.count))
        parts.extend(self.parts)


_JOINABLE = (_COLLECTED, _DELETED, _STRING, _ANYS)


class _Joining(UpdateDecoder):
    """A walk that collects the structs, those that continue another one inside that one."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.continuing = 0
        self._blocks: list[tuple[int, int, list[_Struct]]] = []

    def begin_block(self, replica: int, clock: int) -> None:
        super().begin_block(replica, clock)
        self._blocks.append((replica, clock, []))

    def struct(self) -> int:
        """Step over a struct and keep it."""
        start, loose = self._at, self.shape.loose_count
        length = super().struct()
        information = self._bytes[start]
        kind = information & 0x1F
        structs = self._blocks[-1][2]
        found = self._read(kind, information, start, length)
        previous = structs[-1] if structs else None
        continues = self.shape.loose_count == loose and not information & _HAS_PARENT_KEY
        if (
            previous is not None
            and continues
            and kind in _JOINABLE
            and previous.kind == kind
            and not previous.head[0] & _HAS_PARENT_KEY
            and previous.structs < MAX_JOINED
        ):
            previous.count += found.count
            previous.parts += found.parts
            previous.structs += 1
            self.continuing += 1
        else:
            structs.append(found)
        return length

    def _read(self, kind: int, information: int, start: int, length: int) -> _Struct:
        if kind not in _JOINABLE:
            return _Struct(kind, self._bytes[start : self._at], 0)
        head, at = self._bytes[start : self._content_at], self._content_at
        while self._bytes[at] & 0x80:
            at += 1
        body = self._bytes[at + 1 : self._at]
        return _Struct(kind, head, len(body) if kind == _STRING else length, [body] if body else [])

    def joined(self) -> bytes:
        """Write what was collected, and the deletions as they were."""
        parts = [varuint(len(self._blocks))]
        for replica, clock, structs in self._blocks:
            parts += (varuint(len(structs)), varuint(replica), varuint(clock))
            for struct in structs:
                struct.encode(parts)
        parts.append(self._bytes[self._deletions_at :])
        return b"".join(parts)


_SKIPPED = 10
_NO_DELETIONS = b"\0"

Place = tuple[int, int, Unit | None]
"""The replica and clock of a piece, and the shared type that it says to lie in: the same in every update with it."""


@dataclass(slots=True)
class StructSlice:
    """A struct that says in which shared type it lies, or so many others in a row.

    Attributes:
        end: The clock after it.
        start: Where it begins in the update.
        stop: Where it ends there.
    """

    replica: int
    clock: int
    end: int
    start: int
    stop: int
    parent: Unit | None
    structs: int = 1

    @property
    def place(self) -> Place:
        """What tells it from others."""
        return self.replica, self.clock, self.parent


class StructSlices:
    """The pieces of an update, in its order; and after them, as a piece of its own, what it deletes."""

    def __init__(self, update: bytes, pieces: Sequence[StructSlice], deletions: bytes) -> None:
        self._update = update
        self._pieces = pieces
        self._deletions = deletions

    def __len__(self) -> int:
        return len(self._pieces) + 1

    def place(self, index: int) -> Place:
        """What tells the piece with this number from others."""
        return self._pieces[index].place

    def encode(self, first: int, end: int) -> bytes:
        """Return an update with the pieces from `first` to before `end`."""
        return self._encode(self._pieces[first:end], self._deletions if end == len(self) else _NO_DELETIONS)

    def only(self, places: Collection[Place]) -> bytes:
        """Return an update with the pieces at some places."""
        return self._encode([piece for piece in self._pieces if piece.place in places], _NO_DELETIONS)

    def without(self, places: Collection[Place], and_after: bool) -> bytes | None:
        """Return an update without the pieces at some places; None if it has none of them.

        Args:
            places: Where they are.
            and_after: Whether what the same replica wrote later is left out as well.
        """
        left = list[StructSlice]()
        cut: int | None = None
        for piece in self._pieces:
            if piece.place in places:
                cut = piece.replica
            elif not (and_after and piece.replica == cut):
                left.append(piece)
        return None if cut is None else self._encode(left, self._deletions)

    def end_of_replica(self, index: int) -> int:
        """Return one past the last piece of the replica that wrote the one with this number."""
        replica = self._pieces[index].replica
        while index < len(self._pieces) and self._pieces[index].replica == replica:
            index += 1
        return index

    def _encode(self, pieces: Sequence[StructSlice], deletions: bytes) -> bytes:
        blocks = list[bytes]()
        count = 0
        for replica, group in groupby(pieces, lambda piece: piece.replica):
            of_replica = list(group)
            parts, structs, clock = list[bytes](), 0, of_replica[0].clock
            for piece in of_replica:
                if piece.clock > clock:
                    parts.append(bytes([_SKIPPED]) + varuint(piece.clock - clock))
                    structs += 1
                parts.append(self._update[piece.start : piece.stop])
                structs += piece.structs
                clock = piece.end
            count += 1
            blocks += [varuint(structs), varuint(replica), varuint(of_replica[0].clock), *parts]
        return varuint(count) + b"".join(blocks) + deletions


def read_pieces(update: bytes) -> StructSlices:
    """Take a checked update apart. Any thread."""
    walk = _Cutting(update)
    walk.update()
    return StructSlices(update, walk.pieces, walk.deletions)


class _Cutting(UpdateDecoder):
    """A walk that notes where the pieces are."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.pieces: list[StructSlice] = []
        self._lies_in: Unit | None = None

    @property
    def deletions(self) -> bytes:
        return self._bytes[self._deletions_at :]

    def struct(self) -> int:
        """Step over a struct and note it."""
        start, self._lies_in = self._at, None
        length = super().struct()
        last = self.pieces[-1] if self.pieces else None
        if self._bytes[start] == _SKIPPED:
            pass
        elif (
            last is not None
            and last.parent is None
            and self._lies_in is None
            and (last.replica, last.end, last.stop) == (self._replica, self._clock, start)
        ):
            last.end, last.stop, last.structs = self._clock + length, self._at, last.structs + 1
        else:
            end = self._clock + length
            self.pieces.append(StructSlice(self._replica, self._clock, end, start, self._at, self._lies_in))
        return length

    def _parent(self, has_key: bool) -> tuple[Unit | str, ...]:
        place = super()._parent(has_key)
        self._lies_in = place[0] if isinstance(place[0], tuple) else None
        return place
