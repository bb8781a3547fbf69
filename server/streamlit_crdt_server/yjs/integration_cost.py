"""How long a document searches for the places of an update's structs, found out before it does.

Structs that were inserted at one place at the same time are put in an order that is the same everywhere: each
one is compared with those that lie between its neighbours. An update of 20 kB with 1500 structs in a row, and
1500 others that each end before another one of these, takes two million comparisons, and the process stands
still for 0.3 s; for three times as many structs, nine times as long. So an update that could take many is
rehearsed here, with a budget: the same algorithm (YATA, as in `Item.integrate` of Yjs), on runs instead of
texts, in the order in which pycrdt takes the structs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateMeta

MAX_STEPS = 500_000
"""50 to 150 ms of pycrdt, 100 to 300 ns each. What one person pasted takes none. A list of 3000 lines that 20 people
wrote from the bottom to the top takes 250 000 when all of it comes at once, as after the loss of a store."""

STEPS_PER_STRUCT = 4
"""On top of that: it costs no more than reading the struct does."""


def check_cost(shape: UpdateMeta) -> None:
    """Raise ValueError if an empty document takes far more comparisons for the structs of an update than it has."""
    if shape.contenders * shape.structs > MAX_STEPS:
        count_steps(shape, MAX_STEPS + STEPS_PER_STRUCT * shape.structs)


def count_steps(shape: UpdateMeta, max_steps: int) -> int:
    """Return how many comparisons an empty document takes; raises ValueError above `max_steps`."""
    rehearsal = _IntegrationSimulation(shape, max_steps)
    for run in rehearsal.in_order():
        rehearsal.integrate(run)
    return rehearsal.steps


@dataclass(eq=False, slots=True)
class _Line:
    """A list, a text, or the values of one key."""

    head: _Piece | None = None


@dataclass(eq=False, slots=True)
class _Piece:
    """A run of structs, each of which follows the one before, or a part of one after something came between."""

    unit: Unit
    structs: int
    left: Unit | None = None
    right: Unit | None = None
    line: _Line = field(default_factory=_Line)
    next: _Piece | None = None


class _Pieces:
    """The pieces of one replica, by clock."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[_Piece] = []

    def add(self, piece: _Piece) -> None:
        index = bisect_right(self._starts, piece.unit[1])
        self._starts.insert(index, piece.unit[1])
        self._pieces.insert(index, piece)

    def holding(self, clock: int) -> _Piece | None:
        index = bisect_right(self._starts, clock) - 1
        return self._pieces[index] if index >= 0 else None

    def beginning(self, clock: int) -> _Piece | None:
        """Return the piece that begins at `clock`, after splitting the one that holds it."""
        piece = self.holding(clock)
        if piece is None or piece.unit[1] == clock:
            return piece
        units = clock - piece.unit[1]
        rest = _Piece(
            (piece.unit[0], clock),
            max(piece.structs - units, 1),
            (piece.unit[0], clock - 1),
            piece.right,
            piece.line,
            piece.next,
        )
        piece.structs, piece.next = min(piece.structs, units), rest
        self.add(rest)
        return rest


class _IntegrationSimulation:
    """The places of the runs of an update; what it refers to and does not have lies in lines of its own."""

    def __init__(self, shape: UpdateMeta, max_steps: int) -> None:
        self.steps = 0
        self._max_steps = max_steps
        self._shape = shape
        self._pieces = {replica: _Pieces() for replica in shape.blocks}
        self._outside: dict[Unit, _Piece] = {}
        self._places: dict[int, _Line] = {}
        self._done = {replica: first for replica, (first, *_) in shape.blocks.items()}

    def in_order(self) -> Iterator[int]:
        """Return the runs: those of the highest replica id first, and before each one what it refers to."""
        for replica in sorted(self._shape.blocks, reverse=True):
            waiting = [replica]
            while waiting:
                run = self._done[waiting[-1]]
                if run >= self._shape.blocks[waiting[-1]][1]:
                    waiting.pop()
                    continue
                missing = next((unit[0] for unit in self._needs(run) if self._is_missing(unit)), None)
                if missing is None:
                    self._done[waiting[-1]] += 1
                    yield run
                    if len(waiting) > 1:
                        waiting.pop()
                elif missing in waiting:
                    return  # a circle, which no document ever takes
                else:
                    waiting.append(missing)

    def _needs(self, run: int) -> tuple[Unit, ...]:
        _, left, right, _, _ = self._shape.loose(run)
        return tuple(unit for unit in (left, right) if unit is not None)

    def _is_missing(self, unit: Unit) -> bool:
        """Whether a unit is in the update, in a run that was not taken yet."""
        _, end, start, stop = self._shape.blocks.get(unit[0], (0, 0, 0, 0))
        run = self._done.get(unit[0], end)
        return start <= unit[1] < stop and run < end and self._shape.loose(run)[0][1] <= unit[1]

    def integrate(self, run: int) -> None:
        """Put a run where it belongs."""
        unit, left_unit, right_unit, place, before = self._shape.loose(run)
        left = None if left_unit is None else self._ending(left_unit)
        right = None if right_unit is None else self._beginning(right_unit)
        following = (
            self._shape.loose(run + 1)[4] if run + 1 < self._shape.loose_count else self._shape.structs
        )
        piece = _Piece(unit, following - before, left_unit, right_unit, self._line(left, right, place))
        self._pieces[unit[0]].add(piece)
        other = piece.line.head if left is None else left.next
        if other is not right:
            left = self._find_left(piece, left, other, right)
        if left is None:
            piece.next, piece.line.head = piece.line.head, piece
        else:
            piece.next, left.next = left.next, piece

    def _find_left(
        self, piece: _Piece, left: _Piece | None, other: _Piece | None, right: _Piece | None
    ) -> _Piece | None:
        """Compare `piece` with what lies between its neighbours, and return after what it comes."""
        passed, conflicting = set[int](), set[int]()
        while other is not None and other is not right:
            self.steps += other.structs
            if self.steps > self._max_steps:
                raise ValueError("too many of its structs compete for the same place")
            passed.add(id(other))
            conflicting.add(id(other))
            if other.left == piece.left:
                if other.unit[0] < piece.unit[0]:
                    left = other
                    conflicting.clear()
                elif other.right == piece.right:
                    break
            elif other.left is not None and id(self._holding(other.left)) in passed:
                if id(self._holding(other.left)) not in conflicting:
                    left = other
                    conflicting.clear()
            else:
                break
            other = other.next
        return left

    def _line(self, left: _Piece | None, right: _Piece | None, place: int) -> _Line:
        if left is not None:
            return left.line
        return right.line if right is not None else self._places.setdefault(place, _Line())

    def _beginning(self, unit: Unit) -> _Piece:
        found = self._pieces[unit[0]].beginning(unit[1]) if self._has(unit) else None
        return found or self._alone(unit)

    def _ending(self, unit: Unit) -> _Piece:
        if self._has(unit) and self._pieces[unit[0]].holding(unit[1]) is not None:
            self._pieces[unit[0]].beginning(unit[1] + 1)
        return self._holding(unit)

    def _holding(self, unit: Unit) -> _Piece:
        found = self._pieces[unit[0]].holding(unit[1]) if self._has(unit) else None
        return found or self._alone(unit)

    def _has(self, unit: Unit) -> bool:
        _, _, start, stop = self._shape.blocks.get(unit[0], (0, 0, 0, 0))
        return start <= unit[1] < stop

    def _alone(self, unit: Unit) -> _Piece:
        """Return the piece that stands for a unit of another update."""
        if unit not in self._outside:
            self._outside[unit] = piece = _Piece(unit, 1)
            piece.line.head = piece
        return self._outside[unit]
