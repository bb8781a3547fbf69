"""An update taken apart into its structs, so that some of them can be left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from streamlit_crdt_server.shape import Unit
from streamlit_crdt_server.updates import UpdateWalk
from streamlit_crdt_server.wire import varuint

_SKIPPED = 10
_NO_DELETIONS = b"\0"

Place = tuple[int, int, Unit | None]
"""The replica and clock of a piece, and the shared type that it says to lie in: the same in every update with it."""


@dataclass(slots=True)
class Piece:
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


class Pieces:
    """The pieces of an update, in its order; and after them, as a piece of its own, what it deletes."""

    def __init__(self, update: bytes, pieces: Sequence[Piece], deletions: bytes) -> None:
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
        left = list[Piece]()
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

    def _encode(self, pieces: Sequence[Piece], deletions: bytes) -> bytes:
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


def read_pieces(update: bytes) -> Pieces:
    """Take a checked update apart. Any thread."""
    walk = _Cutting(update)
    walk.update()
    return Pieces(update, walk.pieces, walk.deletions)


class _Cutting(UpdateWalk):
    """A walk that notes where the pieces are."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.pieces: list[Piece] = []
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
            self.pieces.append(Piece(self._replica, self._clock, end, start, self._at, self._lies_in))
        return length

    def _parent(self, has_key: bool) -> tuple[Unit | str, ...]:
        place = super()._parent(has_key)
        self._lies_in = place[0] if isinstance(place[0], tuple) else None
        return place
