"""Merging and slicing of the structs of an update.

Merging: `merge_structs` joins structs that continue each other into one struct, before pycrdt does so. Ten thousand
values that were appended to a list one by one, in merged updates, are ten thousand structs. pycrdt 0.14.13 joins them
when a transaction ends, and copies the content so far for each struct: 100 kB take 2 s, and twice as much takes four
times as long. `merge_structs` is linear.

Slicing: `slice_structs` finds the structs that can be left out of an update.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateDecoder

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


SliceKey = tuple[int, int, Unit | None]
"""Replica id, clock and stated parent of a slice: equal in every update that contains it."""


@dataclass(slots=True)
class StructSlice:
    """One struct that names another struct as its parent, or a sequence of structs that do not.

    Attributes:
        replica: Replica id of the structs.
        clock: Clock of the first unit.
        end: Clock after the last unit.
        start: Position of the first byte in the update.
        stop: Position after the last byte in the update.
        parent: Parent that the struct names; None if it names none or a root type.
        structs: Number of structs.
    """

    replica: int
    clock: int
    end: int
    start: int
    stop: int
    parent: Unit | None
    structs: int = 1

    @property
    def key(self) -> SliceKey:
        return self.replica, self.clock, self.parent


class StructSlices:
    """The slices of one update, in its order. The deletions follow as one further slice."""

    def __init__(self, update: bytes, slices: Sequence[StructSlice], deletions: bytes) -> None:
        self._update = update
        self._slices = slices
        self._deletions = deletions

    def __len__(self) -> int:
        return len(self._slices) + 1

    def key(self, index: int) -> SliceKey:
        """Return the key of the slice at `index`, which must not be that of the deletions."""
        return self._slices[index].key

    def encode(self, first: int, end: int) -> bytes:
        """Return an update with the slices from `first` to before `end`."""
        return self._encode(self._slices[first:end], self._deletions if end == len(self) else _NO_DELETIONS)

    def only(self, keys: Collection[SliceKey]) -> bytes:
        """Return an update with the slices of the given keys, without deletions."""
        return self._encode([each for each in self._slices if each.key in keys], _NO_DELETIONS)

    def without(self, keys: Collection[SliceKey], and_after: bool) -> bytes | None:
        """Return an update without the slices of the given keys, or None if the update has none of them.

        Args:
            keys: Keys of the slices to leave out.
            and_after: Whether later slices of the same replica are left out as well.
        """
        left = list[StructSlice]()
        cut: int | None = None
        for each in self._slices:
            if each.key in keys:
                cut = each.replica
            elif not (and_after and each.replica == cut):
                left.append(each)
        return None if cut is None else self._encode(left, self._deletions)

    def end_of_replica(self, index: int) -> int:
        """Return the index after the last slice of the replica that wrote the slice at `index`."""
        replica = self._slices[index].replica
        while index < len(self._slices) and self._slices[index].replica == replica:
            index += 1
        return index

    def _encode(self, slices: Sequence[StructSlice], deletions: bytes) -> bytes:
        blocks = list[bytes]()
        count = 0
        for replica, group in groupby(slices, lambda each: each.replica):
            of_replica = list(group)
            parts, structs, clock = list[bytes](), 0, of_replica[0].clock
            for each in of_replica:
                if each.clock > clock:
                    parts.append(bytes([_SKIPPED]) + encode_varuint(each.clock - clock))
                    structs += 1
                parts.append(self._update[each.start : each.stop])
                structs += each.structs
                clock = each.end
            count += 1
            blocks += [
                encode_varuint(structs),
                encode_varuint(replica),
                encode_varuint(of_replica[0].clock),
                *parts,
            ]
        return encode_varuint(count) + b"".join(blocks) + deletions


def slice_structs(update: bytes) -> StructSlices:
    """Return the slices of a checked update. Any thread."""
    slicer = _StructSlicer(update)
    slicer.decode()
    return StructSlices(update, slicer.slices, slicer.deletions)


class _StructSlicer(UpdateDecoder):
    """A decoder that collects the positions of the slices."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.slices: list[StructSlice] = []
        self._parent: Unit | None = None

    @property
    def deletions(self) -> bytes:
        return self._bytes[self._deletions_at :]

    def read_struct(self) -> int:
        start, self._parent = self._at, None
        length = super().read_struct()
        last = self.slices[-1] if self.slices else None
        if self._bytes[start] == _SKIPPED:
            pass
        elif (
            last is not None
            and last.parent is None
            and self._parent is None
            and (last.replica, last.end, last.stop) == (self._replica, self._clock, start)
        ):
            last.end, last.stop, last.structs = self._clock + length, self._at, last.structs + 1
        else:
            end = self._clock + length
            self.slices.append(StructSlice(self._replica, self._clock, end, start, self._at, self._parent))
        return length

    def _read_parent(self, has_key: bool) -> tuple[Unit | str, ...]:
        parent = super()._read_parent(has_key)
        self._parent = parent[0] if isinstance(parent[0], tuple) else None
        return parent
