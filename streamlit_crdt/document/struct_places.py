"""Places of the structs of a document, and the places that its updates have changed.

The place of a struct is a root type, and the key of the entry if that root type is a map. An update names the place of
a struct only if the struct has no neighbors: an overwritten entry refers to the value before it, and a deletion names
nothing but a range of clocks. The places of all structs are therefore kept, for each replica id in the order of its
clocks. A struct inside of a nested type has the place of that type.

Events of pycrdt do not serve here: with yrs 0.28, reading the keys of a map event panics on an item that is deleted in
the same update.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Set
from itertools import pairwise
from typing import Final, NamedTuple

from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateMeta, read_update_meta

MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
"""Limit in bytes of the updates whose places were not requested. Beyond it the places are read from the document."""

_NOWHERE: Final = 0
"""Number of the place of collected structs, which no read returns."""

_UNKNOWN: Final = 1
"""Number of a place that does not follow from the update, such as that of a struct whose neighbors are collected."""

_OPEN: Final = -1
"""A number that is not computed yet."""


class Place(NamedTuple):
    """Name of a root type, and the key of an entry. None for an item of a sequence."""

    root: str
    entry: str | None


class Changes(NamedTuple):
    """Changes of a document.

    Attributes:
        places: the changed places.
        irregular_roots: names of the root types, changed or not, that have had a text or a format. In an array, the
            positions of these and of the items behind them are not reliable.
    """

    places: set[Place]
    irregular_roots: Set[str]


class ChangedPlaces:
    """Places that the updates of one document have changed since they were taken. Not thread-safe.

    Updates are decoded when the places are taken.
    """

    def __init__(self, read_state: Callable[[], bytes], *, is_empty: bool) -> None:
        """Create the places.

        Args:
            read_state: returns the encoded document.
            is_empty: whether the document is empty now.
        """
        self._read_state = read_state
        self._places = StructPlaces() if is_empty else None
        self._pending: list[bytes | UpdateMeta] = []
        self._pending_bytes = 0

    def add(self, update: bytes, meta: UpdateMeta | None) -> None:
        """Add an update that the document applied or made, with its metadata if they are known."""
        if self._places is None:
            return
        self._pending.append(update if meta is None else meta)
        self._pending_bytes += len(update)
        if self._pending_bytes > MAX_PENDING_BYTES and len(self._pending) > 1:
            self.forget()

    def forget(self) -> None:
        """Discard all places. They are read from the document again."""
        self._places = None
        self._pending.clear()
        self._pending_bytes = 0

    def take(self) -> Changes | None:
        """Return the changes since the last call. None if any place may have changed."""
        if self._places is None:
            self._places = StructPlaces()
            self._places.add(read_update_meta(self._read_state()))
            return None
        changed, is_known = set[Place](), True
        for update in self._pending:
            found = self._places.add(read_update_meta(update) if isinstance(update, bytes) else update)
            is_known = is_known and found is not None
            changed |= found or set()
        self._pending.clear()
        self._pending_bytes = 0
        return Changes(changed, self._places.irregular_roots) if is_known else None


class StructPlaces:
    """Place of each struct of one document.

    Attributes:
        irregular_roots: see `Changes`.
    """

    def __init__(self) -> None:
        self.irregular_roots: set[str] = set()
        self._ranges: dict[int, _Ranges] = {}
        self._places: list[Place] = [Place("", None)] * 2  # those of _NOWHERE and _UNKNOWN
        self._numbers: dict[Place, int] = {}

    def add(self, meta: UpdateMeta) -> set[Place] | None:
        """Add the structs of an update that the document has applied. Return the places that it changes.

        Returns:
            None if any place may have changed.
        """
        search = _PlaceSearch(meta, self.number_of, self._number_of_unit)
        changed = set[int]()
        for replica, block in meta.blocks.items():
            ranges = self._ranges.get(replica)
            if ranges is None:
                ranges = self._ranges[replica] = _Ranges()
            if block.end > ranges.end:
                for start, end, run in _segments(meta, replica):
                    if end > ranges.end:
                        number = _NOWHERE if run is None else search.number(run)
                        ranges.append(start, end, number)
                        changed.add(number)
        for run in {*meta.format_runs, *(run for run, _ in meta.text_ranges())}:
            self.irregular_roots.add(self._places[search.number(run)].root)
        flat = meta.deletions
        for replica, start, end in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            ranges = self._ranges.get(replica)
            changed.update([_UNKNOWN] if ranges is None else ranges.between(start, end))
        changed.discard(_NOWHERE)
        if _UNKNOWN in changed or search.is_ambiguous:
            return None
        return {self._places[number] for number in changed}

    def number_of(self, place: Place) -> int:
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = len(self._places)
            self._places.append(place)
        return number

    def _number_of_unit(self, unit: Unit) -> int:
        """Return the number of a unit's place, `_OPEN` if the document did not have the unit before the update."""
        ranges = self._ranges.get(unit[0])
        return _OPEN if ranges is None or unit[1] >= ranges.end else ranges.number(unit[1])


class _Ranges:
    """Numbers of the places of one replica's units: first clock and number of each range, in the order of the clocks.

    Attributes:
        end: Clock after the last unit.
    """

    def __init__(self) -> None:
        self.end = 0
        self._starts = array("q")
        self._numbers = array("q")

    def append(self, start: int, end: int, number: int) -> None:
        """Add the units up to `end` that are not known yet. Those before `start` are missing, with unknown places."""
        if start > self.end:
            self._extend(_UNKNOWN)
            self.end = start
        self._extend(number)
        self.end = end

    def _extend(self, number: int) -> None:
        if not self._numbers or self._numbers[-1] != number:
            self._starts.append(self.end)
            self._numbers.append(number)

    def number(self, clock: int) -> int:
        return self._numbers[bisect_right(self._starts, clock) - 1]

    def between(self, start: int, end: int) -> Iterable[int]:
        """Return the numbers of the units from `start` to before `end`."""
        first, stop = bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)
        numbers = self._numbers[max(first, 0) : stop]
        return numbers if end <= self.end else [*numbers, _UNKNOWN]


def _segments(meta: UpdateMeta, replica: int) -> list[tuple[int, int, int | None]]:
    """Return first clock, end clock and index of each run of a replica. The index of collected structs is None."""
    block = meta.blocks[replica]
    starts: list[tuple[int, int | None]] = [
        (meta.run(index)[0][1], index) for index in range(block.first_run, block.end_run)
    ]
    if holes := meta.holes.get(replica):
        starts = sorted([*starts, *((clock, None) for clock in holes)], key=lambda each: each[0])
    starts.append((block.end, None))
    return [(start, end, run) for (start, run), (end, _) in pairwise(starts)]


class _PlaceSearch:
    """Numbers of the places of the runs of one update.

    Attributes:
        is_ambiguous: whether the two neighbors of a run have different places.
    """

    def __init__(
        self, meta: UpdateMeta, number_of: Callable[[Place], int], known_number: Callable[[Unit], int]
    ) -> None:
        """Create the search.

        Args:
            meta: The update.
            number_of: Returns the number of a place.
            known_number: Returns the number of the place of a unit of the document, `_OPEN` if it has no such unit.
        """
        self.is_ambiguous = False
        self._meta = meta
        self._named = meta.parents
        self._number_of = number_of
        self._known_number = known_number
        self._numbers = [_OPEN] * meta.run_count
        self._starts: dict[int, list[int]] = {}

    def number(self, run: int) -> int:
        """Return the number of a run's place, by the chain of its neighbors and parents."""
        chain = list[int]()
        while True:
            number = self._numbers[run]
            if number != _OPEN:
                break
            self._numbers[run] = _UNKNOWN  # ends a circle
            chain.append(run)
            number, origin = self._origin(run)
            if number != _OPEN:
                break
            run = origin
        for member in chain:
            self._numbers[member] = number
        return number

    def _origin(self, run: int) -> tuple[int, int]:
        """Return the number of a run's place, or `_OPEN` and the run of the update that has the same place."""
        _, left, right, named, _ = self._meta.run(run)
        if left is None and right is None:
            parent, *keys = self._named[named]
            if isinstance(parent, str):
                return self._number_of(Place(parent, next(map(str, keys), None))), 0
            return self._of_unit(parent, None)
        if left is None or right is None:
            return self._of_unit(left or right, None)
        found, other = self._of_unit(left, right), self._of_unit(right, left)
        self.is_ambiguous = self.is_ambiguous or (found[0] != other[0] and _OPEN not in (found[0], other[0]))
        return found

    def _of_unit(self, unit: Unit | None, other: Unit | None) -> tuple[int, int]:
        """Return the number of a unit's place, or `_OPEN` and its run. pycrdt takes `other` if `unit` is collected."""
        if unit is None:
            return _UNKNOWN, 0
        number = self._known_number(unit)
        if number == _OPEN:
            run = self._run_containing(unit)
            if run is not None:
                return _OPEN, run
            number = _NOWHERE
        return self._of_unit(other, None) if number == _NOWHERE else (number, 0)

    def _run_containing(self, unit: Unit) -> int | None:
        replica, clock = unit
        block = self._meta.blocks.get(replica)
        if block is None or not block.start <= clock < block.end:
            return None
        if replica not in self._starts:
            self._starts[replica] = [
                self._meta.run(run)[0][1] for run in range(block.first_run, block.end_run)
            ]
        starts = self._starts[replica]
        found = bisect_right(starts, clock) - 1
        holes = self._meta.holes.get(replica)
        hole = bisect_right(holes, clock) - 1 if holes else -1
        if found < 0 or (holes is not None and hole >= 0 and holes[hole] > starts[found]):
            return None
        return block.first_run + found
