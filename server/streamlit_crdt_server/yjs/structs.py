"""Merging and splitting of the structs of an update.

Merging: `merge_structs` joins structs that continue each other into one struct, before pycrdt does so. Ten thousand
values that were appended to a list one by one, in merged updates, are ten thousand structs. pycrdt 0.14.13 joins them
when a transaction ends, and copies the content so far for each struct: 100 kB take 2 s, and twice as much takes four
times as long. `merge_structs` is linear.

Splitting: `split_runs` divides an update into runs that a document can integrate one by one. `divide` groups them by
replica, so that each group waits for one clock at a time, and is taken in steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import Protocol

from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, encode_varuint
from streamlit_crdt_server.yjs.update_decoder import Parent, Unit, UpdateDecoder

MERGE_OVER_STRUCTS = 256
"""Number of structs that continue others, above which they are merged. Below it, pycrdt takes a millisecond at most."""

MAX_MERGED_STRUCTS = 4096
"""Number of structs in one merged struct. Each deletion within a struct costs a copy of it."""

RUN_OVERHEAD_BYTES = 512
DELETION_OVERHEAD_BYTES = 128
"""Memory of a pending run and of a pending deletion, besides the encoding. Without it, small ones would count as
nothing."""

MIN_STRUCT_BYTES = 4
"""Least bytes of a struct with which others compete."""

MAX_STEP_COMPARISONS = 100_000
"""Structs with which the insertions of one step may be compared: 50 ms of pycrdt, up to 500 ns each. One insertion into
a document with more structs is a step of its own."""

MAX_STEP_COPIES = 25_000_000
"""The same for deletions, which copy texts: 50 ms of pycrdt, up to 0.5 ns per byte."""

_COLLECTED, _DELETED, _STRING, _ANY, _SKIPPED = 0, 1, 4, 8, 10
_MERGEABLE = (_COLLECTED, _DELETED, _STRING, _ANY)
_HAS_PARENT_KEY = 0x20
_NO_DELETIONS = b"\0"


def merge_structs(update: bytes) -> bytes:
    """Return an equivalent update with fewer structs, or `update` itself if there is little to merge.

    Raises:
        ValueError: The update is not well formed to its last byte.
    """
    merger = _StructMerger(update)
    merger.decode()
    return merger.encode() if merger.merged_count > MERGE_OVER_STRUCTS else update


@dataclass(slots=True)
class _Struct:
    """The encoding of a struct: the bytes before its content, the length of the content, and the content."""

    kind: int
    head: bytes
    count: int
    parts: list[bytes] = field(default_factory=list)
    structs: int = 1

    def encode(self, parts: list[bytes]) -> None:
        """Append the encoding to `parts`."""
        parts.append(self.head)
        if self.kind in _MERGEABLE:
            parts.append(encode_varuint(self.count))
        parts.extend(self.parts)


class _StructMerger(UpdateDecoder):
    """A decoder that collects the structs and merges those that continue the struct before them."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.merged_count = 0
        self._blocks: list[tuple[int, int, list[_Struct]]] = []

    def begin_block(self, replica: int, clock: int) -> None:
        super().begin_block(replica, clock)
        self._blocks.append((replica, clock, []))

    def read_struct(self) -> int:
        start, run_count = self._at, self.meta.run_count
        length = super().read_struct()
        information = self._bytes[start]
        kind = information & 0x1F
        structs = self._blocks[-1][2]
        found = self._take_struct(kind, start, length)
        previous = structs[-1] if structs else None
        continues = self.meta.run_count == run_count and not information & _HAS_PARENT_KEY
        if (
            previous is not None
            and continues
            and kind in _MERGEABLE
            and previous.kind == kind
            and not previous.head[0] & _HAS_PARENT_KEY
            and previous.structs < MAX_MERGED_STRUCTS
        ):
            previous.count += found.count
            previous.parts += found.parts
            previous.structs += 1
            self.merged_count += 1
        else:
            structs.append(found)
        return length

    def _take_struct(self, kind: int, start: int, length: int) -> _Struct:
        if kind not in _MERGEABLE:
            return _Struct(kind, self._bytes[start : self._at], 0)
        head, at = self._bytes[start : self._content_at], self._content_at
        while self._bytes[at] & 0x80:
            at += 1
        body = self._bytes[at + 1 : self._at]
        return _Struct(kind, head, len(body) if kind == _STRING else length, [body] if body else [])

    def encode(self) -> bytes:
        """Encode the collected structs and the unchanged deletions."""
        parts = [encode_varuint(len(self._blocks))]
        for replica, clock, structs in self._blocks:
            parts += (encode_varuint(len(structs)), encode_varuint(replica), encode_varuint(clock))
            for struct in structs:
                struct.encode(parts)
        parts.append(self._bytes[self._deletions_at :])
        return b"".join(parts)


@dataclass(slots=True)
class Run:
    """A struct, and the structs behind it that depend on nothing but the struct before them.

    Attributes:
        replica: Replica id of the structs.
        clock: Clock of the first unit.
        end: Clock after the last unit.
        structs: Number of structs.
        dependencies: Neighbors of the first struct, or the id of its parent.
        is_anchored: Whether the first struct has a left neighbor, or a parent that is no root type.
        content: Encoding of the structs.
    """

    replica: int
    clock: int
    end: int
    structs: int
    dependencies: tuple[Unit, ...]
    is_anchored: bool
    content: bytes = b""


def split_runs(update: bytes) -> tuple[list[Run], list[tuple[int, int, int]]]:
    """Return the runs of a checked update in its order, and its deletions: replica id, first clock, end clock."""
    splitter = _RunSplitter(update)
    splitter.decode()
    for run, (start, stop) in zip(splitter.runs, splitter.positions, strict=True):
        run.content = update[start:stop]
    flat = splitter.meta.deletions
    return splitter.runs, list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


def encode_runs(runs: Sequence[Run]) -> bytes:
    """Encode an update with runs of one replica. Each begins at the end of the one before it."""
    head = (1, sum(run.structs for run in runs), runs[0].replica, runs[0].clock)
    return b"".join((*map(encode_varuint, head), *(run.content for run in runs), _NO_DELETIONS))


class _RunSplitter(UpdateDecoder):
    """A decoder that collects the runs, and their positions in the update."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.runs: list[Run] = []
        self.positions: list[tuple[int, int]] = []
        self._parent: tuple[Unit, ...] = ()

    def read_struct(self) -> int:
        start, count, self._parent = self._at, self.meta.run_count, ()
        length = super().read_struct()
        end = self._clock + length
        last = self.runs[-1] if self.runs else None
        if self._bytes[start] == _SKIPPED:
            return length
        if (
            last is not None
            and self.meta.run_count == count
            and (last.replica, last.end) == (self._replica, self._clock)
        ):
            last.end, last.structs = end, last.structs + 1
            self.positions[-1] = self.positions[-1][0], self._at
        else:
            self.runs.append(Run(self._replica, self._clock, end, 1, *self._find_dependencies(count)))
            self.positions.append((start, self._at))
        return length

    def _find_dependencies(self, run: int) -> tuple[tuple[Unit, ...], bool]:
        """Return `dependencies` and `is_anchored` of the struct that was just read.

        Args:
            run: The index of the run that it may have begun.
        """
        if self.meta.run_count == run:  # it continues the run, or has no content
            return (), True
        _, left, right, _, _ = self.meta.run(run)
        dependencies = (*(unit for unit in (left, right) if unit is not None), *self._parent)
        return dependencies, left is not None or bool(self._parent)

    def _read_parent(self, has_key: bool) -> Parent:
        parent = super()._read_parent(has_key)
        if isinstance(parent[0], tuple):
            self._parent = (parent[0],)
        return parent


class Content(Protocol):
    """Content of one replica in an update, in the order of its clocks.

    Attributes:
        size_bytes: Its memory.
    """

    size_bytes: int

    @property
    def has_rest(self) -> bool:
        """True if something is left."""
        ...

    def take(self, clocks: Mapping[int, int], max_structs: int | None) -> tuple[bytes, dict[int, int]]:
        """Remove what a document with these clocks can integrate. Return its encoding, and the clocks after it.

        Args:
            clocks: State vector of the document.
            max_structs: Upper limit of the structs in the document. None for a step without a limit.
        """
        ...

    def missing(self, clocks: Mapping[int, int]) -> Unit | None:
        """Return the replica and the clock of it that a document needs for more. None if nothing is left."""
        ...

    def encode(self) -> list[bytes]:
        """Encode it as updates."""
        ...

    def digest(self) -> bytes: ...


class Runs:
    """Runs of one replica."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = deque(runs)
        self._replica = self._runs[0].replica
        self.size_bytes = sum(map(_size, self._runs))

    @property
    def has_rest(self) -> bool:
        return bool(self._runs)

    def take(self, clocks: Mapping[int, int], max_structs: int | None) -> tuple[bytes, dict[int, int]]:
        begin = own = clocks.get(self._replica, 0)
        ready, left = list[Run](), MAX_STEP_COMPARISONS
        while self._runs and self._find_missing(clocks, own) is None:
            run = self._runs[0]
            if max_structs is not None and run.end > own and not self._is_local(run, begin):
                left -= max_structs + own - begin
                if left < 0 and ready:
                    break
            self._runs.popleft()
            self.size_bytes -= _size(run)
            if run.end > own:
                own = run.end
                ready.append(run)
        return (encode_runs(ready), {self._replica: own}) if ready else (EMPTY_UPDATE, {})

    def _is_local(self, run: Run, begin: int) -> bool:
        """Return whether a run competes only with units of its own replica from `begin` on."""
        return run.is_anchored and all(
            replica == self._replica and clock >= begin for replica, clock in run.dependencies
        )

    def missing(self, clocks: Mapping[int, int]) -> Unit | None:
        return self._find_missing(clocks, clocks.get(self._replica, 0)) if self._runs else None

    def _find_missing(self, clocks: Mapping[int, int], own: int) -> Unit | None:
        """Return the clock that the first run needs, if the clock of its own replica is `own`."""
        run = self._runs[0]
        if run.clock > own:
            return self._replica, run.clock
        if run.end <= own:
            return None
        for replica, clock in run.dependencies:
            if clock >= (own if replica == self._replica else clocks.get(replica, 0)):
                return replica, clock + 1
        return None

    def encode(self) -> list[bytes]:
        groups: list[list[Run]] = []
        for run in self._runs:
            if not groups or groups[-1][-1].end != run.clock:
                groups.append([])
            groups[-1].append(run)
        return [encode_runs(group) for group in groups]

    def digest(self) -> bytes:
        digest = blake2b(b"runs %d" % self._replica, digest_size=16)
        for run in self._runs:
            digest.update(b" %d " % run.clock + run.content)
        return digest.digest()


class Deletions:
    """Deletions of units of one replica. None of them overlap.

    They wait until the document has the clocks in `after`, each with its replica id.
    """

    def __init__(self, replica: int, ranges: Iterable[tuple[int, int]], after: Sequence[Unit]) -> None:
        self._replica = replica
        self._after = list(after)
        self._ranges = deque(sorted(ranges))
        self.size_bytes = len(self._ranges) * DELETION_OVERHEAD_BYTES

    def _find_missing(self, clocks: Mapping[int, int]) -> Unit | None:
        return next(
            ((replica, clock) for replica, clock in self._after if clocks.get(replica, 0) < clock), None
        )

    @property
    def has_rest(self) -> bool:
        return bool(self._ranges)

    def take(self, clocks: Mapping[int, int], max_structs: int | None) -> tuple[bytes, dict[int, int]]:
        if self._find_missing(clocks) is not None:
            return EMPTY_UPDATE, {}
        own, ready, rest = clocks.get(self._replica, 0), list[tuple[int, int]](), 0
        max_ranges = max(1, MAX_STEP_COPIES // max_structs) if max_structs else len(self._ranges)
        while self._ranges and self._ranges[0][0] < own and len(ready) < max_ranges:
            start, end = self._ranges.popleft()
            ready.append((start, min(end, own)))
            rest = max(rest, end)
        if rest > own:
            self._ranges.appendleft((own, rest))
        self.size_bytes = len(self._ranges) * DELETION_OVERHEAD_BYTES
        return (_encode_deletions(self._replica, ready) if ready else EMPTY_UPDATE), {}

    def missing(self, clocks: Mapping[int, int]) -> Unit | None:
        if not self._ranges:
            return None
        missing, clock = self._find_missing(clocks), self._ranges[0][0] + 1
        return missing or (None if clocks.get(self._replica, 0) >= clock else (self._replica, clock))

    def encode(self) -> list[bytes]:
        return [_encode_deletions(self._replica, self._ranges)]

    def digest(self) -> bytes:
        return blake2b(
            repr(self._after).encode() + _encode_deletions(self._replica, self._ranges), digest_size=16
        ).digest()


def divide(update: bytes) -> list[Content]:
    """Return the contents of an update: the runs of each replica, then the deletions in each replica."""
    runs, deletions = split_runs(update)
    runs.sort(key=lambda run: -run.replica)  # as pycrdt: the other order takes more comparisons
    contents: list[Content] = [Runs(group) for _, group in groupby(runs, lambda run: run.replica)]
    beside: dict[int, list[tuple[int, Unit]]] = {}
    for run in runs:
        for replica, clock in run.dependencies:
            beside.setdefault(replica, []).append((clock, (run.replica, run.end)))
    for each in beside.values():
        each.sort()
    groups: dict[tuple[int, tuple[Unit, ...]], list[tuple[int, int]]] = {}
    ends: dict[int, int] = {}
    for replica, start, end in sorted(deletions):
        start, own = max(start, ends.get(replica, 0)), beside.get(replica, [])
        ends[replica] = max(start, end)
        if start < end:
            found = own[bisect_left(own, (start,)) : bisect_left(own, (end,))]
            after = tuple(sorted({needed for _, needed in found}))
            groups.setdefault((replica, after), []).append((start, end))
    return [*contents, *(Deletions(replica, each, after) for (replica, after), each in groups.items())]


def _size(run: Run) -> int:
    return len(run.content) + RUN_OVERHEAD_BYTES


def _encode_deletions(replica: int, ranges: Sequence[tuple[int, int]]) -> bytes:
    numbers = [0, 1, replica, len(ranges)]
    for start, end in ranges:
        numbers += (start, end - start)
    return b"".join(map(encode_varuint, numbers))
