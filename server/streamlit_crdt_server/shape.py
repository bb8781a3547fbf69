"""What of an update matters besides its values: how far it reaches, and between what it puts its structs.

Most structs continue the one before them. Only those that do not are noted ("loose" ones), so that a large
paste costs next to nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from struct import Struct

Unit = tuple[int, int]
"""A replica id and a clock: one place of one element."""

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NOWHERE = (-1, -1)
_LOOSE = Struct("=8q")


class Shape:
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
