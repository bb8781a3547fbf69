"""Cutting of a large update into valid updates of limited size.

The pieces are applied in their order. Each is complete by itself: the clocks of a replica rise from piece to piece, and
a struct comes after the structs of other replicas that it names as neighbor or parent. A receiver therefore never has
pending structs, and a transfer that breaks off continues with the difference to the receiver's state vector.

A struct with several elements, such as a text or the items of a list, is split where needed, as Yjs does for an
insertion. A struct with one element is never split. A piece exceeds its limit only by such a struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, MAX_VARUINT, Decoder, encode_varuint
from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateDecoder, UpdateMeta

CHUNKS_PER_PIECE = 8
"""Smallest number of chunks that fill a piece, so that the pieces are filled to 7/8 at least."""

_BLOCK_BYTES = 40
"""Upper limit for the numbers before the structs of a replica, and for a gap before them."""
_PIECE_BYTES = 20
"""Upper limit for the numbers of blocks in a piece."""

_HAS_LEFT, _HAS_RIGHT, _CONTENT = 0x80, 0x40, 0x1F
_JSON, _STRING, _ANY, _SKIPPED = 2, 4, 8, 10
_SPLITTABLE = (_JSON, _STRING, _ANY)
_NO_DELETIONS = b"\0"


def cut_update(update: bytes, max_bytes: int, max_elements: int = MAX_VARUINT) -> list[bytes]:
    """Cut an update into updates of at most `max_bytes` that together are equivalent. Any thread.

    The deletions are in the last pieces. The cost is that of decoding the update, unless it is small enough already.

    Args:
        update: The update.
        max_bytes: Size of a piece.
        max_elements: Limit of the elements inside one value, which cannot be cut. Checked in an update to cut.

    Raises:
        ValueError: The update is not well formed to its last byte, or a value has too many elements.
    """
    if len(update) <= max_bytes:
        return [update]
    cutter = _Cutter(update, max(1, max_bytes // CHUNKS_PER_PIECE), max_elements)
    cutter.decode()
    packer = _Packer(max_bytes)
    for chunk in _in_dependency_order(cutter.chunks):
        packer.add(chunk)
    packer.add_deletions(_deletions(cutter.meta))
    return packer.finish() or [EMPTY_UPDATE]


@dataclass(slots=True)
class _Chunk:
    """Consecutive structs of one replica, of which only the first depends on other replicas.

    Attributes:
        replica: Replica id of the structs.
        clock: Clock of the first unit.
        end: Clock after the last unit.
        needs: Units of other replicas that the first struct names.
        structs: Number of structs.
        size: Number of encoded bytes.
        parts: Encoding of the structs.
    """

    replica: int
    clock: int
    end: int
    needs: tuple[Unit, ...]
    structs: int = 0
    size: int = 0
    parts: list[bytes] = field(default_factory=list)

    def add(self, encoded: bytes, units: int) -> None:
        self.parts.append(encoded)
        self.size += len(encoded)
        self.structs += 1
        self.end += units


class _Dependencies(UpdateMeta):
    """Metadata of an update without its runs: only the units that a struct names."""

    def __init__(self) -> None:
        super().__init__()
        self._named: tuple[Unit, ...] = ()

    def add_struct(self, unit: Unit, left: Unit | None, right: Unit | None, parent: object) -> None:
        """Store the neighbors of a struct, or its parent."""
        container = parent[0] if isinstance(parent, tuple) and isinstance(parent[0], tuple) else None
        self._named = tuple(
            each for each in (left, right, container) if each is not None and each[0] != unit[0]
        )

    def take(self) -> tuple[Unit, ...]:
        """Return the units that the last struct names, and forget them."""
        named, self._named = self._named, ()
        return named

    def add_text(self, replica: int, clock: int, text: str) -> None:
        """Do nothing: the surrogates are not needed."""


class _Cutter(UpdateDecoder):
    """A decoder that collects the chunks of each replica."""

    def __init__(self, content: bytes, max_chunk_bytes: int, max_elements: int) -> None:
        super().__init__(content)
        self._max_elements = max_elements
        self._dependencies = _Dependencies()
        self.meta = self._dependencies
        self.chunks: dict[int, list[_Chunk]] = {}
        self._max_chunk_bytes = max_chunk_bytes
        self._known: dict[int, int] = {}

    def begin_block(self, replica: int, clock: int) -> None:
        super().begin_block(replica, clock)
        self.chunks[replica] = []
        self._known = {}

    def read_struct(self) -> int:
        start = self._at
        length = super().read_struct()
        information = self._bytes[start]
        if information == _SKIPPED:
            return length
        needs = tuple(unit for unit in self._dependencies.take() if self._known.get(unit[0], -1) < unit[1])
        for replica, clock in needs:
            self._known[replica] = max(clock, self._known.get(replica, -1))
        is_large = self._at - start > self._max_chunk_bytes
        if is_large and length > 1 and information & _CONTENT in _SPLITTABLE:
            clock = self._clock
            for encoded, units in self._split(start):
                self._add(encoded, clock, units, needs)
                needs, clock = (), clock + units
        else:
            self._add(self._bytes[start : self._at], self._clock, length, needs)
        return length

    def _add(self, encoded: bytes, clock: int, units: int, needs: tuple[Unit, ...]) -> None:
        """Add a struct to the last chunk, or to a new one."""
        chunks = self.chunks[self._replica]
        last = chunks[-1] if chunks else None
        if last is None or needs or last.end != clock or last.size + len(encoded) > self._max_chunk_bytes:
            last = _Chunk(self._replica, clock, clock, needs)
            chunks.append(last)
        last.add(encoded, units)

    def _split(self, start: int) -> Iterator[tuple[bytes, int]]:
        """Yield the parts of a struct and their lengths in units."""
        head, kind = self._bytes[start : self._content_at], self._bytes[start] & _CONTENT
        right = _right_neighbor(head)
        clock = self._clock
        for body, count, units in self._parts_of_text() if kind == _STRING else self._parts_of_list(kind):
            if clock > self._clock:
                head = (
                    bytes((kind | _HAS_LEFT | (_HAS_RIGHT if right else 0),))
                    + encode_varuint(self._replica)
                    + encode_varuint(clock - 1)
                    + right
                )
            yield head + encode_varuint(count) + body, units
            clock += units

    def _parts_of_text(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield parts of a text between two characters: the bytes, their number and the number of UTF-16 units."""
        text = memoryview(Decoder(self._bytes, self._content_at).read_bytes())
        at = 0
        while at < len(text):
            end = min(at + self._max_chunk_bytes, len(text))
            while at < end < len(text) and text[end] & 0xC0 == 0x80:
                end -= 1
            if end == at:  # a character is larger than the limit
                end = at + 1
                while end < len(text) and text[end] & 0xC0 == 0x80:
                    end += 1
            body = bytes(text[at:end])
            yield body, len(body), len(body.decode().encode("utf-16-le")) // 2
            at = end

    def _parts_of_list(self, kind: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield parts of a list between two elements: the bytes and twice their number."""
        elements = Decoder(self._bytes, self._content_at)
        left = elements.read_varuint()
        begin, count = elements.position, 0
        while left:
            before = elements.position
            if kind == _ANY:
                elements.skip_any()
            else:
                elements.skip(elements.read_varuint())
            if count and elements.position - begin > self._max_chunk_bytes:
                yield self._bytes[begin:before], count, count
                begin, count = before, 0
            left, count = left - 1, count + 1
        yield self._bytes[begin : elements.position], count, count


def _right_neighbor(head: bytes) -> bytes:
    """Return the encoded right neighbor in the head of a struct, empty if it has none."""
    if not head[0] & _HAS_RIGHT:
        return b""
    decoder = Decoder(head, 1)
    if head[0] & _HAS_LEFT:
        decoder.read_varuint()
        decoder.read_varuint()
    start = decoder.position
    decoder.read_varuint()
    decoder.read_varuint()
    return head[start : decoder.position]


def _in_dependency_order(chunks: dict[int, list[_Chunk]]) -> Iterator[_Chunk]:
    """Yield all chunks, those of a replica by their clock, and each after the chunks that it depends on.

    The highest replica id comes first, as in pycrdt: in the other order, each of the structs at one position is
    compared with all before it.
    """
    position = dict.fromkeys(chunks, 0)
    for first in sorted(chunks, reverse=True):
        stack = [first]
        while stack:
            replica = stack[-1]
            if position[replica] >= len(chunks[replica]):
                stack.pop()
                continue
            chunk = chunks[replica][position[replica]]
            missing = next((each for each in chunk.needs if _is_missing(each, chunks, position)), None)
            if missing is not None and missing[0] not in stack:
                stack.append(missing[0])
                continue
            # A circle of dependencies is never integrated, in whatever order it arrives.
            position[replica] += 1
            yield chunk
            if len(stack) > 1:
                stack.pop()


def _is_missing(unit: Unit, chunks: dict[int, list[_Chunk]], position: dict[int, int]) -> bool:
    """Return whether a unit is in a chunk that is still to come."""
    replica, clock = unit
    at = position.get(replica)
    if at is None or at >= len(chunks[replica]):
        return False
    return chunks[replica][at].clock <= clock < chunks[replica][-1].end


class _Packer:
    """The pieces of an update, which it fills with chunks in their order."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._blocks: dict[int, list[_Chunk]] = {}
        self._size = 0

    def add(self, chunk: _Chunk) -> None:
        size = chunk.size + _BLOCK_BYTES
        if self._blocks and self._size + size > self._max_bytes - _PIECE_BYTES:
            self._close(_NO_DELETIONS)
        self._blocks.setdefault(chunk.replica, []).append(chunk)
        self._size += size

    def add_deletions(self, deletions: Iterable[tuple[int, int, int]]) -> None:
        """Add deletions as replica id, first clock and number of units."""
        ranges: dict[int, list[bytes]] = {}
        size = 0
        for replica, start, length in deletions:
            encoded = encode_varuint(start) + encode_varuint(length)
            added = len(encoded) + (_BLOCK_BYTES if replica not in ranges else 0)
            if (self._blocks or ranges) and self._size + size + added > self._max_bytes - _PIECE_BYTES:
                self._close(_encode_deletions(ranges))
                ranges, size, added = {}, 0, len(encoded) + _BLOCK_BYTES
            ranges.setdefault(replica, []).append(encoded)
            size += added
        if ranges:
            self._close(_encode_deletions(ranges))

    def finish(self) -> list[bytes]:
        """Return the pieces."""
        if self._blocks:
            self._close(_NO_DELETIONS)
        return self._pieces

    def _close(self, deletions: bytes) -> None:
        """End the current piece."""
        blocks = [_encode_block(self._blocks[replica]) for replica in sorted(self._blocks, reverse=True)]
        self._pieces.append(encode_varuint(len(blocks)) + b"".join(blocks) + deletions)
        self._blocks, self._size = {}, 0


def _encode_block(chunks: list[_Chunk]) -> bytes:
    """Encode the chunks of one replica. A gap between two chunks is encoded as in Yjs."""
    parts, structs, clock = list[bytes](), 0, chunks[0].clock
    for chunk in chunks:
        if chunk.clock > clock:
            parts.append(bytes((_SKIPPED,)) + encode_varuint(chunk.clock - clock))
            structs += 1
        parts += chunk.parts
        structs += chunk.structs
        clock = chunk.end
    head = encode_varuint(structs) + encode_varuint(chunks[0].replica) + encode_varuint(chunks[0].clock)
    return head + b"".join(parts)


def _encode_deletions(ranges: dict[int, list[bytes]]) -> bytes:
    parts = [encode_varuint(len(ranges))]
    for replica, encoded in ranges.items():
        parts += (encode_varuint(replica), encode_varuint(len(encoded)), *encoded)
    return b"".join(parts)


def _deletions(meta: UpdateMeta) -> Iterator[tuple[int, int, int]]:
    """Yield the deletions of an update as replica id, first clock and number of units."""
    for index in range(0, len(meta.deletions), 3):
        replica, start, end = meta.deletions[index : index + 3]
        yield replica, start, end - start
