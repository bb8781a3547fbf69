"""Limit of the nesting of shared types in a document.

pycrdt 0.14.13 deletes and collects a shared type by recursion into the types inside it. Deleting one with 35 000 levels
overflows the stack of the main thread and ends the process, with no exception to catch. Threads, and systems with a
smaller stack, fail earlier. Undo, `to_py()` and `to_json()` recurse as well.

The levels are counted in the document, because a chain of types may be built one level per update. `NestingDepths`
stores a level for each range of units, and nothing at all as long as the document has no nested type.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from itertools import pairwise
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from pycrdt import Doc

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.update_decoder import (
    Block,
    Unit,
    UpdateDecoder,
    UpdateMeta,
    read_update_meta,
)

MAX_NESTING = 64
"""Default limit of the levels of shared types inside a root type."""

MAX_LOADED_NESTING = 1000
"""Limit for a stored log, and upper limit of the setting. Recursion stays far from the end of any stack."""

_MAY_BE_NESTED = re.compile(rb"[\x01-\x09\x21-\x29]\x00")
"""Begin of a struct whose parent is no root type. Other bytes of an update may match as well."""

_COLLECTED, _SKIPPED = 0, 10


class _Open(Enum):
    """A parent that is not known."""

    UNKNOWN = 0
    NEW = 1
    IN_PROGRESS = 2


_UNKNOWN: Literal[_Open.UNKNOWN] = _Open.UNKNOWN


class Nested(NamedTuple):
    """A place inside of a nested type: its id, and whether it is an entry of a map."""

    parent: Unit
    is_entry: bool


Place = Nested | None | Literal[_Open.UNKNOWN]
"""None for a root type."""

_NO_BLOCK = Block(0, 0, 0, 0)


class NestingError(UpdateRefusedError):
    """Raised when an update would nest shared types deeper than the limit."""

    def __init__(self, max_nesting: int) -> None:
        super().__init__(f"its shared types are nested deeper than max_nesting={max_nesting} levels")


class BetweenTypesError(UpdateRefusedError):
    """Raised when the neighbors of a struct are in different shared types."""

    def __init__(self) -> None:
        super().__init__("the neighbors of one of its structs are in different shared types")


class SplitEntryError(UpdateRefusedError):
    """Raised when another struct may split an entry of a nested map.

    pycrdt 0.14.13 deletes only the last part of such an entry together with its map. The other parts refer to freed
    memory then, and the state of the document does not load.
    """

    def __init__(self) -> None:
        super().__init__("an entry of one of its nested maps has several values")


def check_nesting(meta: UpdateMeta, max_nesting: int = MAX_NESTING) -> None:
    """Check the nesting inside one update. What it does not contain counts as a root type.

    Raises:
        NestingError: A shared type is nested too deeply.
        BetweenTypesError: The neighbors of a struct are in different types.
        SplitEntryError: An entry of a map has several values that are not deleted.
    """
    if meta.nested_parents:
        _check(_Places(meta, lambda unit: _UNKNOWN, lambda parent: 0), max_nesting)


class NestingDepths:
    """The places of the structs in nested types of one document, and the levels of these types.

    Attributes:
        max_nesting: Limit of the levels.
        nested_texts: Replica id, first clock and end clock of the texts in nested types.
        has_nested_change: Whether the update that was admitted last may have changed the content of a nested type.
    """

    def __init__(self, max_nesting: int = MAX_NESTING) -> None:
        self.max_nesting = max_nesting
        self.nested_texts: list[tuple[int, int, int]] = []
        self.has_nested_change = False
        self._known: Mapping[int, int] | None = None
        self._ranges: dict[int, _Ranges] = {}
        self._levels: dict[Unit, int] = {}

    @property
    def is_flat(self) -> bool:
        """True if the document has had no nested type, so that nothing is stored."""
        return self._known is None

    def is_flat_after(self, update: bytes) -> bool:
        """Return whether the document certainly has no nested type, also with this update."""
        return self._known is None and _MAY_BE_NESTED.search(update) is None

    @contextmanager
    def admit(self, update: bytes, read_clocks: Callable[[], Mapping[int, int]]) -> Iterator[None]:
        """Check an update, and add its structs after the block has applied it.

        Args:
            update: A well-formed update. The document has everything that it depends on.
            read_clocks: Returns the state vector of the document.

        Raises:
            NestingError: The document would have a shared type that is nested too deeply. The block does not run.
            BetweenTypesError: The neighbors of a struct are in different types. The block does not run.
            SplitEntryError: An entry of a nested map has several values. The block does not run.
        """
        self.has_nested_change = False
        if self.is_flat_after(update):
            yield
            return
        try:
            meta = read_update_meta(update)
        except ValueError as error:
            raise UpdateRefusedError(str(error)) from error
        if self._known is None and not meta.nested_parents:
            yield
            return
        if self._known is None:
            self._known = dict(read_clocks())
        places = self._places(meta)
        _check(places, self.max_nesting)
        self.has_nested_change = self._changes_nested(places)
        try:
            yield
        except (UpdateRefusedError, RuntimeError):  # the document may have applied a part of it
            self._add(places, read_clocks())
            raise
        self._add(places, None)

    def without_deep_structs(self, update: bytes) -> bytes:
        """Return an update whose structs below the last allowed level are replaced by collected ones.

        These have the same clocks, so that later structs of their replica can be integrated. Structs with neighbors
        in different types are replaced too, and entries of nested maps with several values.
        """
        meta = read_update_meta(update)
        places = self._places(meta)
        refused = {
            index
            for index in range(meta.run_count)
            if places.level(index) >= self.max_nesting or places.is_between_types(index)
        }
        refused.update(places.split_entries())
        collector = _StructCollector(update, refused)
        collector.decode()
        return collector.encode()

    def add(self, update: bytes) -> None:
        """Add a change that the document made by itself, such as an undone deletion of a nested type."""
        if self._known is not None:
            self._add(self._places(read_update_meta(update)), None)

    def _places(self, meta: UpdateMeta) -> _Places:
        return _Places(meta, self._place_of, lambda parent: self._levels.get(parent, 0))

    def _changes_nested(self, places: _Places) -> bool:
        meta = places.meta
        if any(places.place(index) is not None for index in range(meta.run_count)):
            return True
        flat = meta.deletions
        return any(
            replica in self._ranges and self._ranges[replica].has_nested(start, end)
            for replica, start, end in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        )

    def _place_of(self, unit: Unit) -> Place:
        """Return the place of a unit of the document. Units from before the first nested type are in root types."""
        ranges = self._ranges.get(unit[0])
        if ranges is not None:
            return ranges.place(unit[1])
        return None if self._known is not None and unit[1] < self._known.get(unit[0], 0) else _UNKNOWN

    def _add(self, places: _Places, clocks: Mapping[int, int] | None) -> None:
        """Add the units that the document did not have before, up to `clocks`."""
        assert self._known is not None
        meta = places.meta
        for text_run, (replica, start, end) in meta.text_ranges():
            known = self._ranges[replica].end if replica in self._ranges else self._known.get(replica, 0)
            if places.place(text_run) is not None and end > known:
                self.nested_texts.append((replica, max(start, known), end))
        for replica, block in meta.blocks.items():
            ranges = self._ranges.get(replica)
            if ranges is None:
                ranges = self._ranges[replica] = _Ranges(self._known.get(replica, 0))
            end = block.end if clocks is None else min(block.end, clocks.get(replica, 0))
            starts: list[tuple[int, int | None]] = [
                (meta.run(index)[0][1], index) for index in range(block.first_run, block.end_run)
            ]
            if holes := meta.holes.get(replica):
                starts = sorted([*starts, *((clock, None) for clock in holes)], key=lambda each: each[0])
            for (start, run), (stop, _) in pairwise([*starts, (end, None)]):
                place: Place = _UNKNOWN if run is None else places.place(run)
                if run is not None and isinstance(place, Nested):
                    self._levels[place.parent] = places.level(run)
                ranges.append(start, min(stop, end), place)


class _Ranges:
    """Places of the units of one replica: first clock and place of each range, in the order of the clocks.

    Attributes:
        end: Clock after the last unit.
    """

    def __init__(self, end: int) -> None:
        """Create the places of a replica of which the document has the units before `end`, all in root types."""
        self.end = end
        self._starts = array("q", [0])
        self._places: list[Place] = [None]

    def append(self, start: int, end: int, place: Place) -> None:
        """Add the units from `start` to before `end`, except those that were added before."""
        start = max(start, self.end)
        if start >= end:
            return
        if self._places[-1] != place:
            self._starts.append(start)
            self._places.append(place)
        self.end = end

    def has_nested(self, start: int, end: int) -> bool:
        """Return whether a unit from `start` to before `end` is in a nested type."""
        first, stop = bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)
        return any(isinstance(place, Nested) for place in self._places[first:stop])

    def place(self, clock: int) -> Place:
        return self._places[bisect_right(self._starts, clock) - 1] if clock < self.end else _UNKNOWN


class _Places:
    """Places and levels of the runs of one update."""

    def __init__(
        self, meta: UpdateMeta, known_place: Callable[[Unit], Place], known_level: Callable[[Unit], int]
    ) -> None:
        """Create the places.

        Args:
            meta: The update.
            known_place: Returns the place of a unit of the document, whatever the update says of it.
            known_level: Returns the level of the structs in a type of the document.
        """
        self.meta = meta
        self._named = meta.parents
        self._known_place = known_place
        self._known_level = known_level
        self._places: list[Place | _Open] = [_Open.NEW] * meta.run_count
        self._levels: dict[Unit, int] = {}
        self._starts: dict[int, list[int]] = {}

    def place(self, index: int) -> Nested | None:
        """Return the place of a run. None for a root type, and for an unknown one."""
        found = self._find_place(index)
        return found if isinstance(found, Nested) else None

    def level(self, index: int) -> int:
        """Return the level of a run: 0 in a root type."""
        place, chain = self.place(index), list[Unit]()
        level = 0
        while place is not None:
            parent = place.parent
            if parent in self._levels:
                level = self._levels[parent]
                break
            self._levels[parent] = 0  # ends a circle
            chain.append(parent)
            outer = self._place_of_unit(parent)
            if self._known_place(parent) is not _UNKNOWN and (known := self._known_level(parent)):
                level = known - 1
                break
            place = outer if isinstance(outer, Nested) else None
        for member in reversed(chain):
            level += 1
            self._levels[member] = level
        return level

    def is_between_types(self, index: int) -> bool:
        """Return whether the neighbors of a run are in different types.

        pycrdt links them nevertheless. The link is a dangling pointer after one of the types was deleted.
        """
        _, left, right, _, _ = self.meta.run(index)
        if left is None or right is None:
            return False
        places = self._place_of_unit(left), self._place_of_unit(right)
        return _UNKNOWN not in places and places[0] != places[1]

    def split_entries(self) -> Iterator[int]:
        """Yield the runs in which an entry of a nested map has several units, unless all but the last are deleted.

        Yjs merges the overwritten values of one entry into one struct.
        """
        deleted: dict[int, _Intervals] | None = None
        for index, start, end in self.meta.wide_structs():
            place = self.place(index)
            if place is None or not place.is_entry:
                continue
            deleted = _deleted_units(self.meta) if deleted is None else deleted
            replica = self.meta.run(index)[0][0]
            if replica not in deleted or not deleted[replica].contain(start, end - 1):
                yield index

    def _find_place(self, index: int) -> Place:
        """Return the place of a run, by the chain of its neighbors."""
        chain = list[int]()
        place: Place = _UNKNOWN
        while True:
            found = self._places[index]
            if not isinstance(found, _Open):
                place = found
                break
            if found is _Open.IN_PROGRESS:
                break
            self._places[index] = _Open.IN_PROGRESS
            chain.append(index)
            own, left, right, named, _ = self.meta.run(index)
            place = self._known_place(own)
            if place is not _UNKNOWN:
                break
            neighbor = self._linked_neighbor(left, right)
            if neighbor is None:
                place = self._named_place(named)
                break
            place = self._known_place(neighbor)
            next_index = None if place is not _UNKNOWN else self._run_containing(neighbor)
            if next_index is None:
                break
            index = next_index
        for member in chain:
            self._places[member] = place
        return place

    def _linked_neighbor(self, left: Unit | None, right: Unit | None) -> Unit | None:
        """Return the left neighbor. If it is collected, the right one: pycrdt inserts the struct beside that."""
        if left is None or right is None:
            return left or right
        is_linked = self._known_place(left) is not _UNKNOWN or self._run_containing(left) is not None
        return left if is_linked else right

    def _named_place(self, number: int) -> Place:
        parent, *key = self._named[number] if number >= 0 else ("",)
        return Nested(parent, bool(key)) if isinstance(parent, tuple) else None

    def _place_of_unit(self, unit: Unit) -> Place:
        known = self._known_place(unit)
        if known is not _UNKNOWN:
            return known
        index = self._run_containing(unit)
        return _UNKNOWN if index is None else self._find_place(index)

    def _run_containing(self, unit: Unit) -> int | None:
        block = self.meta.blocks.get(unit[0], _NO_BLOCK)
        if not block.start <= unit[1] < block.end:
            return None
        starts = self._starts.get(unit[0])
        if starts is None:
            starts = [self.meta.run(index)[0][1] for index in range(block.first_run, block.end_run)]
            self._starts[unit[0]] = starts
        found = bisect_right(starts, unit[1]) - 1
        if found < 0:
            return None
        holes = self.meta.holes.get(unit[0])
        hole = bisect_right(holes, unit[1]) - 1 if holes else -1
        is_in_hole = holes is not None and hole >= 0 and holes[hole] > starts[found]
        return None if is_in_hole else block.first_run + found


class _Intervals:
    """Half-open intervals, which are added in the order of their starts."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        if self._ends and start <= self._ends[-1]:
            self._ends[-1] = max(self._ends[-1], end)
        else:
            self._starts.append(start)
            self._ends.append(end)

    def contain(self, start: int, end: int) -> bool:
        found = bisect_right(self._starts, start) - 1
        return found >= 0 and end <= self._ends[found]


def _deleted_units(meta: UpdateMeta) -> dict[int, _Intervals]:
    """Return the clocks that an update deletes, per replica id."""
    flat, deleted = meta.deletions, dict[int, _Intervals]()
    for replica, start, end in sorted(zip(flat[::3], flat[1::3], flat[2::3], strict=True)):
        deleted.setdefault(replica, _Intervals()).add(start, end)
    return deleted


def _check(places: _Places, max_nesting: int) -> None:
    if any(places.level(index) >= max_nesting for index in places.meta.type_runs):
        raise NestingError(max_nesting)
    if any(places.is_between_types(index) for index in range(places.meta.run_count)):
        raise BetweenTypesError
    if next(places.split_entries(), None) is not None:
        raise SplitEntryError


class _StructCollector(UpdateDecoder):
    """A decoder that copies an update, with collected structs in place of those of some runs."""

    def __init__(self, content: bytes, runs: Container[int]) -> None:
        super().__init__(content)
        self._collected = runs
        self._parts: list[bytes] = []
        self._copied = 0

    def read_struct(self) -> int:
        start = self._at
        length = super().read_struct()
        is_item = self._bytes[start] not in (_COLLECTED, _SKIPPED)
        if is_item and self.meta.run_count - 1 in self._collected:
            self._parts += (self._bytes[self._copied : start], bytes([_COLLECTED]), encode_varuint(length))
            self._copied = self._at
        return length

    def encode(self) -> bytes:
        return b"".join((*self._parts, self._bytes[self._copied :]))


_DEPTHS: WeakKeyDictionary[Doc[Any], NestingDepths] = WeakKeyDictionary()
"""Levels of the documents of rooms. A document and its levels must never part, also when a log is loaded."""


def depths_of(ydoc: Doc[Any]) -> NestingDepths:
    """Return the levels of a document. Its limit is that for a stored log until it is changed."""
    depths = _DEPTHS.get(ydoc)
    if depths is None:
        depths = _DEPTHS[ydoc] = NestingDepths(MAX_LOADED_NESTING)
    return depths
