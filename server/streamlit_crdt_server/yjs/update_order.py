"""Order in which a document can apply updates, and the updates that wait for missing ones (rule S6).

An update may arrive before the updates that it depends on. pycrdt 0.14.13 accepts it and keeps its structs inside the
document, where it may lose them: three updates of one client in the order 1, 2, 0 leave a document without an item,
and raise no error. A document therefore receives only what it can integrate at once. Everything else stays pending
here, outside of the document.

An update that cannot be integrated as a whole is divided into the runs of each replica and the deletions in each
replica. Each part waits for one clock of one replica at a time. The work for a part is proportional to its size,
however many others are pending. A deletion waits for the runs of its update beside deleted units: they may replace what
it deletes, and a value must not disappear while the value that overwrites it is pending.

pycrdt compares an insertion with all others at its place, and copies a text to split it. Both take time in proportion
to the document, and nothing else runs meanwhile. With `max_structs`, an update with many insertions or deletions is
therefore divided as well. Each step has as many as the document allows, and the caller may stop after it.

An `UpdateOrder` applies nothing. Its user puts updates, and applies what `take` returns, in that order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from pycrdt import merge_updates

from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate
from streamlit_crdt_server.yjs.structs import (
    MAX_STEP_COMPARISONS,
    MAX_STEP_COPIES,
    MIN_STRUCT_BYTES,
    Content,
    divide,
)
from streamlit_crdt_server.yjs.update_decoder import Unit

S = TypeVar("S", bound=Hashable)
H = TypeVar("H")

MAX_PENDING_BYTES = 4 * 1024 * 1024
"""Memory of the pending updates of one document in bytes. Above it a sender is refused, and keeps its updates."""

ORIGIN_OVERHEAD_BYTES = 512
"""Memory of each update that sent a part, besides the encoding. Without it, repeated updates would count as nothing."""

_MERGE_CHUNK = 64
"""Updates per merge. A merge costs the square of their number: 0.8 s for 10 000."""


@dataclass(frozen=True, slots=True)
class ReadyUpdate(Generic[S]):
    """An update, or a part of one, that the document can integrate now.

    Attributes:
        data: The bytes to apply. `EMPTY_UPDATE` if the document has the content already.
        ends: Clocks that the document reaches by it, per replica id.
        starts: Clocks that the document had of them before.
        sources: The sources that sent it.
        finished: Those sources of which it completes an update.
        is_whole: Whether it is an update as it was put.
    """

    data: bytes
    ends: Mapping[int, int]
    sources: Sequence[S]
    finished: Sequence[S]
    starts: Mapping[int, int] = field(default_factory=dict)
    is_whole: bool = False


class UpdateOrder(Generic[S]):
    """The pending updates of one document, and its state vector. Not thread-safe.

    A source is any object that identifies one update for its user.

    Attributes:
        pending_bytes: Memory of everything that is pending.
        max_structs: Upper limit of the structs in the document. `take` then returns no more than pycrdt applies in a
            limited time, and adds what it returns. None if the steps are not limited.
    """

    def __init__(self, clocks: Mapping[int, int] | None = None) -> None:
        self.pending_bytes = 0
        self.max_structs: int | None = None
        self._clocks = dict(clocks or {})
        self._units = sum(self._clocks.values())
        self._ready: deque[_Whole[S] | _Part[S]] = deque()
        self._waiting: dict[int, list[tuple[int, int, _Part[S]]]] = {}
        self._pending: dict[bytes, _Part[S]] = {}
        self._origins: dict[S, _Origin[S]] = {}
        self._dropped_count = 0
        self._numbers = count()

    @property
    def clocks(self) -> Mapping[int, int]:
        """State vector of the document after everything that was taken."""
        return self._clocks

    @property
    def has_ready(self) -> bool:
        """True if the next `take` may return something."""
        return bool(self._ready)

    @property
    def has_pending(self) -> bool:
        """True if an update is not applied completely."""
        return bool(self._origins)

    @property
    def oldest_pending(self) -> S | None:
        """The source of the oldest update that is not applied completely. None if there is none."""
        return next(iter(self._origins), None)

    def oldest_by(self, holder_of: Callable[[S], H]) -> dict[H, S]:
        """Return the oldest source of each holder that is not applied completely."""
        oldest: dict[H, S] = {}
        for source in self._origins:
            oldest.setdefault(holder_of(source), source)
        return oldest

    def pending_sources(self) -> set[S]:
        """Return the sources of everything that was put and not taken."""
        return {*self._origins, *(item.source for item in self._ready if isinstance(item, _Whole))}

    def encode_pending(self, without: Container[S] = ()) -> bytes:
        """Encode everything that was put and not taken as one update, except what a source in `without` sent."""
        updates = [
            update
            for part in {part for origin in self._origins.values() for part in origin.parts}
            if not any(origin.source in without for origin in part.origins)
            for update in part.content.encode()
        ]
        wholes = [item for item in self._ready if isinstance(item, _Whole) and item.source not in without]
        return _merge([*updates, *(item.update.data for item in wholes)])

    def advance(self, clocks: Mapping[int, int]) -> None:
        """Note that the document has at least these clocks, by a change that was not taken from here."""
        for replica, clock in clocks.items():
            if clock > (before := self._clocks.get(replica, 0)):
                self._units += clock - before
                self._clocks[replica] = clock
                if replica in self._waiting:
                    self._wake(replica, clock)

    def put(self, update: ValidatedUpdate, source: S) -> None:
        """Add an update. `take` returns it, or as much of it as the document can integrate."""
        self._ready.append(_Whole(update, source))

    def put_divided(self, update: bytes, source: S) -> None:
        """Add a checked update, of which `take` returns each part by itself, before everything else."""
        origin = self._origins[source] = _Origin(source)
        parts = [_Part(content, {origin}) for content in divide(update)]
        origin.parts.update(parts)
        self._ready.extendleft(reversed(parts))

    def take(self) -> ReadyUpdate[S] | None:
        """Return what the caller must apply before the next call, or None if only pending updates are left.

        `clocks` advances at once. Call `correct` if the application fails.
        """
        while self._ready:
            item = self._ready.popleft()
            ready = self._take_whole(item) if isinstance(item, _Whole) else self._take_part(item)
            if ready is not None:
                if self.max_structs is not None:
                    self.max_structs += len(ready.data) // MIN_STRUCT_BYTES
                return ready
        return None

    def correct(self, clocks: Mapping[int, int]) -> None:
        """Replace the state vector, because the document did not apply the last result of `take`."""
        self._clocks = dict(clocks)
        self._units = sum(self._clocks.values())

    def drop(self, sources: Iterable[S]) -> None:
        """Drop everything that is pending of some sources, unless other sources sent the same."""
        for origin in [self._origins.pop(source) for source in sources if source in self._origins]:
            for part in origin.parts:
                self._drop_origin(part, origin)
        if self._dropped_count > len(self._pending):
            self._dropped_count = 0
            for replica, waiting in list(self._waiting.items()):
                self._waiting[replica] = left = [each for each in waiting if each[2].origins]
                heapify(left)

    def drop_all(self, is_dropped: Callable[[S], bool]) -> None:
        """Drop everything of some sources, what is ready and what is pending."""
        self.drop([source for source in self._origins if is_dropped(source)])
        self._ready = deque(
            item for item in self._ready if not (isinstance(item, _Whole) and is_dropped(item.source))
        )

    def _drop_origin(self, part: _Part[S], origin: _Origin[S]) -> None:
        is_pending = part.key is not None and self._pending.get(part.key) is part
        if is_pending:
            self._remove(part)
        part.origins.remove(origin)
        if is_pending and part.origins:
            self._add(part)
        elif is_pending:
            self._dropped_count += 1

    def evict(self, holder_of: Callable[[S], object | None]) -> set[S]:
        """Drop what the holder of the most sent if more is pending than `MAX_PENDING_BYTES`, and return its sources.

        Args:
            holder_of: Returns the holder of a source. None if the source has none: it does not count.
        """
        sizes = Counter[object]()
        if self.pending_bytes > MAX_PENDING_BYTES:
            for part in self._pending.values():
                for holder in {holder_of(origin.source) for origin in part.origins} - {None}:
                    sizes[holder] += part.size_bytes
        if sizes.total() <= MAX_PENDING_BYTES:
            return set()
        largest = max(sizes, key=sizes.__getitem__)
        evicted = {source for source in self.pending_sources() if holder_of(source) == largest}
        self.drop(evicted)
        return evicted

    def _take_whole(self, item: _Whole[S]) -> ReadyUpdate[S] | None:
        update, clocks = item.update, self._clocks
        is_complete = all(clocks.get(replica, 0) >= clock for replica, clock in update.dependencies.items())
        if not is_complete or self._is_long(update):
            self.put_divided(update.data, item.source)
            # The division takes as long as a step.
            return None if self.max_structs is None else ReadyUpdate(EMPTY_UPDATE, {}, (item.source,), ())
        self.advance(update.ends)
        return ReadyUpdate(update.data, update.ends, (item.source,), (item.source,), is_whole=True)

    def _is_long(self, update: ValidatedUpdate) -> bool:
        """Return whether an update may take longer than one step."""
        if self.max_structs is None or (update.runs <= 1 and update.deletions <= 1):
            return False
        starts, clocks = update.dependencies, self._clocks
        is_new = all(clocks.get(replica, 0) == starts.get(replica) for replica in update.ends)
        insertions = update.insertions if is_new else update.runs
        added = sum(end - starts.get(replica, 0) for replica, end in update.ends.items())
        structs = min(self._units + added, self.max_structs + len(update.data) // MIN_STRUCT_BYTES)
        return (insertions > 1 and insertions * structs > MAX_STEP_COMPARISONS) or (
            update.deletions > 1 and update.deletions * structs > MAX_STEP_COPIES
        )

    def _take_part(self, part: _Part[S]) -> ReadyUpdate[S] | None:
        if not part.origins:
            return None
        max_structs = None if self.max_structs is None else min(self._units, self.max_structs)
        data, ends = part.content.take(self._clocks, max_structs)
        starts = {replica: self._clocks.get(replica, 0) for replica in ends}
        self.advance(ends)
        sources: list[S] = [origin.source for origin in part.origins]
        finished: list[S] = []
        missing = part.content.missing(self._clocks)
        if missing is not None:
            self._wait(part, missing)
        elif part.content.has_rest:
            self._ready.appendleft(part)
        else:
            finished = [origin.source for origin in part.origins if self._finish(part, origin)]
        if data == EMPTY_UPDATE and not finished:
            return None
        return ReadyUpdate(data, ends, sources, finished, starts)

    def _finish(self, part: _Part[S], origin: _Origin[S]) -> bool:
        """Note that a part of an update is taken. Return whether it was the last one."""
        origin.parts.remove(part)
        if not origin.parts:
            del self._origins[origin.source]
        return not origin.parts

    def _wait(self, part: _Part[S], missing: Unit) -> None:
        """Keep a part until the document has a clock. A repeated part costs nothing."""
        part.key = part.key or part.content.digest()
        known = self._pending.get(part.key)
        if known is not None:
            self._remove(known)
            known.origins |= part.origins
            self._add(known)
            for origin in part.origins:
                origin.parts.remove(part)
                origin.parts.add(known)
            return
        self._add(part)
        replica, clock = missing
        heappush(self._waiting.setdefault(replica, []), (clock, next(self._numbers), part))

    def _wake(self, replica: int, clock: int) -> None:
        waiting = self._waiting.get(replica)
        while waiting and waiting[0][0] <= clock:
            _, _, part = heappop(waiting)
            if part.origins:  # not dropped
                self._remove(part)
                self._ready.append(part)
        if waiting is not None and not waiting:
            del self._waiting[replica]

    def _add(self, part: _Part[S]) -> None:
        assert part.key is not None
        self._pending[part.key] = part
        self.pending_bytes += part.size_bytes

    def _remove(self, part: _Part[S]) -> None:
        assert part.key is not None
        del self._pending[part.key]
        self.pending_bytes -= part.size_bytes


@dataclass(frozen=True, slots=True)
class _Whole(Generic[S]):
    """An update that was put and not looked at yet."""

    update: ValidatedUpdate
    source: S


@dataclass(eq=False, slots=True)
class _Origin(Generic[S]):
    """An update that was divided, and its parts that are not taken yet."""

    source: S
    parts: set[_Part[S]] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class _Part(Generic[S]):
    """A part of an update, and the origins that sent it. No origins if it was dropped."""

    content: Content
    origins: set[_Origin[S]]
    key: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes + len(self.origins) * ORIGIN_OVERHEAD_BYTES


def _merge(updates: list[bytes]) -> bytes:
    while len(updates) > 1:
        chunks = (updates[start : start + _MERGE_CHUNK] for start in range(0, len(updates), _MERGE_CHUNK))
        updates = [merge_updates(*chunk) if len(chunk) > 1 else chunk[0] for chunk in chunks]
    return updates[0] if updates else EMPTY_UPDATE
