"""Merging and splitting of the structs of an update.

Merging: `merge_structs` joins structs that continue each other into one struct, before pycrdt does so. Ten thousand
values that were appended to a list one by one, in merged updates, are ten thousand structs. pycrdt 0.14.13 joins them
when a transaction ends, and copies the content so far for each struct: 100 kB take 2 s, and twice as much takes four
times as long. `merge_structs` is linear.

Splitting: `split_runs` divides an update into parts that a document can integrate one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.update_decoder import Parent, Unit, UpdateDecoder

MERGE_OVER_STRUCTS = 256
"""Number of structs that continue others, above which they are merged. Below it, pycrdt takes a millisecond at most."""

MAX_MERGED_STRUCTS = 4096
"""Number of structs in one merged struct. Each deletion within a struct costs a copy of it."""

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
        content: Encoding of the structs.
    """

    replica: int
    clock: int
    end: int
    structs: int
    dependencies: tuple[Unit, ...]
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
            self.runs.append(Run(self._replica, self._clock, end, 1, self._find_dependencies(count)))
            self.positions.append((start, self._at))
        return length

    def _find_dependencies(self, run: int) -> tuple[Unit, ...]:
        """Return the dependencies of the struct that was just read and may have begun the run with this index."""
        if self.meta.run_count == run:
            return ()
        _, left, right, _, _ = self.meta.run(run)
        return (*(unit for unit in (left, right) if unit is not None), *self._parent)

    def _read_parent(self, has_key: bool) -> Parent:
        parent = super()._read_parent(has_key)
        if isinstance(parent[0], tuple):
            self._parent = (parent[0],)
        return parent
