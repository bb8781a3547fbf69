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
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
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
_UNKNOWN, _IN_PROGRESS = -1, -2
_NO_BLOCK = Block(0, 0, 0, 0)


class NestingError(UpdateRefusedError):
    """Raised when an update would nest shared types deeper than the limit."""

    def __init__(self, max_nesting: int) -> None:
        super().__init__(f"its shared types are nested deeper than max_nesting={max_nesting} levels")


def check_nesting(meta: UpdateMeta, max_nesting: int = MAX_NESTING) -> None:
    """Check the nesting inside one update. Everything outside of it counts as a root type.

    Raises:
        NestingError: A shared type is nested too deeply.
    """
    if meta.nested_parents >= max_nesting:  # each further level needs a parent
        _check(meta, _Levels(meta, lambda unit: None), max_nesting)


class NestingDepths:
    """The levels of the structs in one document, counted from its root types, whose own structs are at level 0.

    Attributes:
        max_nesting: Limit of the levels.
        nested_texts: Replica id, first clock and end clock of the texts in nested types.
    """

    def __init__(self, max_nesting: int = MAX_NESTING) -> None:
        self.nested_texts: list[tuple[int, int, int]] = []
        self.max_nesting = max_nesting
        self._known: Mapping[int, int] | None = None
        self._ranges: dict[int, _Ranges] = {}

    @property
    def is_flat(self) -> bool:
        """True if the document has had no nested type, so that nothing is stored."""
        return self._known is None

    @contextmanager
    def admit(self, update: bytes, read_clocks: Callable[[], Mapping[int, int]]) -> Iterator[None]:
        """Check an update, and add its structs after the block has applied it.

        Args:
            update: A well-formed update. The document has everything that it depends on.
            read_clocks: Returns the state vector of the document.

        Raises:
            NestingError: The document would have a shared type that is nested too deeply. The block does not run.
        """
        if self._known is None and _MAY_BE_NESTED.search(update) is None:
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
        levels = _Levels(meta, self._level)
        _check(meta, levels, self.max_nesting)
        try:
            yield
        except UpdateRefusedError:  # the document may have applied a part of it
            self._add(meta, levels, read_clocks())
            raise
        self._add(meta, levels, None)

    def without_deep_structs(self, update: bytes) -> bytes:
        """Return an update whose structs below the last allowed level are replaced by collected ones.

        These have the same clocks, so that later structs of their replica can be integrated.
        """
        meta = read_update_meta(update)
        levels = _Levels(meta, self._level)
        deep = {index for index in range(meta.run_count) if levels.of_run(index) >= self.max_nesting}
        collector = _StructCollector(update, deep)
        collector.decode()
        return collector.encode()

    def add(self, update: bytes) -> None:
        """Add a change that the document made by itself, such as an undone deletion of a nested type."""
        if self._known is not None:
            meta = read_update_meta(update)
            self._add(meta, _Levels(meta, self._level), None)

    def _level(self, unit: Unit) -> int | None:
        """Return the level of a unit of the document. None if the document does not have it."""
        ranges = self._ranges.get(unit[0])
        if ranges is not None:
            return ranges.level(unit[1])
        return 0 if self._known is not None and unit[1] < self._known.get(unit[0], 0) else None

    def _add(self, meta: UpdateMeta, levels: _Levels, clocks: Mapping[int, int] | None) -> None:
        """Add the units that the document did not have before, up to `clocks`."""
        assert self._known is not None
        for run, (replica, start, end) in meta.text_ranges():
            known = self._ranges[replica].end if replica in self._ranges else self._known.get(replica, 0)
            if levels.of_run(run) and end > known:
                self.nested_texts.append((replica, max(start, known), end))
        for replica, block in meta.blocks.items():
            ranges = self._ranges.get(replica)
            if ranges is None:
                ranges = self._ranges[replica] = _Ranges(self._known.get(replica, 0))
            end = block.end if clocks is None else min(block.end, clocks.get(replica, 0))
            starts = [meta.run(index)[0][1] for index in range(block.first_run, block.end_run)]
            ranges.append(block.start, min([*starts[:1], end]), 0)  # structs without content
            for index, (start, stop) in enumerate(pairwise([*starts, end]), block.first_run):
                ranges.append(start, min(stop, end), levels.of_run(index))


class _Ranges:
    """Levels of the units of one replica: first clock and level of each range, in the order of the clocks.

    Attributes:
        end: Clock after the last unit.
    """

    def __init__(self, end: int) -> None:
        """Create the levels of a replica of which the document has the units before `end`, all at level 0."""
        self.end = end
        self._starts = array("q", [0])
        self._levels = array("q", [0])

    def append(self, start: int, end: int, level: int) -> None:
        """Add the units from `start` to before `end`, except those that were added before."""
        start = max(start, self.end)
        if start >= end:
            return
        if self._levels[-1] != level:
            self._starts.append(start)
            self._levels.append(level)
        self.end = end

    def level(self, clock: int) -> int | None:
        return self._levels[bisect_right(self._starts, clock) - 1] if clock < self.end else None


class _Levels:
    """Levels of the runs of one update."""

    def __init__(self, meta: UpdateMeta, known_level: Callable[[Unit], int | None]) -> None:
        """Create the levels.

        Args:
            meta: The update.
            known_level: Returns the level of a unit of the document, whatever the update says of it, else None.
        """
        self._meta = meta
        self._parents = meta.parents
        self._known_level = known_level
        self._levels = array("q", [_UNKNOWN]) * meta.run_count
        self._starts: dict[int, list[int]] = {}

    def of_run(self, index: int) -> int:
        """Return the level of a run, by the chain of the runs that it refers to. Structs in a circle are at level 0."""
        chain = list[tuple[int, int]]()
        level, current = 0, index
        while True:
            if self._levels[current] != _UNKNOWN:
                level = max(self._levels[current], 0)
                break
            self._levels[current] = _IN_PROGRESS
            unit, step = self._reference(current)
            chain.append((current, step))
            level, found = self._find(unit)
            if found is None:
                break
            current = found
        for member, step in reversed(chain):
            level += step
            self._levels[member] = level
        return level

    def _reference(self, index: int) -> tuple[Unit | None, int]:
        """Return the unit that determines the level of a run, and the difference of the levels.

        That is the run itself if the document has it, whatever the update says of it.
        """
        own, left, right, parent, _ = self._meta.run(index)
        if self._known_level(own) is not None:
            return own, 0
        if left is not None or right is not None:
            return left or right, 0
        unit = self._parents[parent][0] if parent >= 0 else ""
        return (unit, 1) if isinstance(unit, tuple) else (None, 0)

    def _find(self, unit: Unit | None) -> tuple[int, int | None]:
        """Return the level of a unit, and the run of the update to continue with if the document does not have it."""
        known = 0 if unit is None else self._known_level(unit)
        if unit is None or known is not None:
            return known or 0, None
        return 0, self._run_containing(unit)

    def _run_containing(self, unit: Unit) -> int | None:
        block = self._meta.blocks.get(unit[0], _NO_BLOCK)
        if not block.start <= unit[1] < block.end:
            return None
        starts = self._starts.get(unit[0])
        if starts is None:
            starts = [self._meta.run(index)[0][1] for index in range(block.first_run, block.end_run)]
            self._starts[unit[0]] = starts
        found = bisect_right(starts, unit[1]) - 1
        return block.first_run + found if found >= 0 else None


def _check(meta: UpdateMeta, levels: _Levels, max_nesting: int) -> None:
    if any(levels.of_run(index) >= max_nesting for index in meta.type_runs):
        raise NestingError(max_nesting)


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
