"""Joining the structs of an update that continue each other into one, before pycrdt does so.

Ten thousand values that were appended to a list one by one, and whose updates were merged, are ten thousand
structs. pycrdt 0.14.13 makes one of them when a transaction ends, and copies what it has so far for each: 100 kB
take 2 s, and twice as much takes four times as long. Here that is linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlit_crdt_server.updates import UpdateWalk
from streamlit_crdt_server.wire import varuint

MANY = 256
"""So few structs that continue others cost a millisecond at most."""

MAX_JOINED = 4096
"""A joined struct is not longer than this: whatever is deleted within it costs a copy of it."""

_COLLECTED, _DELETED, _STRING, _ANYS = 0, 1, 4, 8
_HAS_PARENT_KEY = 0x20


def join_runs(update: bytes) -> bytes:
    """Return an update that does the same with fewer structs; itself if there is nothing to join.

    Raises:
        ValueError: it is not well formed to its last byte.
    """
    walk = _Joining(update)
    walk.update()
    return walk.joined() if walk.continuing > MANY else update


@dataclass(slots=True)
class _Struct:
    """What is written: everything before the content; how much content there is; and the content."""

    kind: int
    head: bytes
    count: int
    parts: list[bytes] = field(default_factory=list)
    structs: int = 1

    def encode(self, parts: list[bytes]) -> None:
        parts.append(self.head)
        if self.kind in _JOINABLE:
            parts.append(varuint(self.count))
        parts.extend(self.parts)


_JOINABLE = (_COLLECTED, _DELETED, _STRING, _ANYS)


class _Joining(UpdateWalk):
    """A walk that collects the structs, those that continue another one inside that one."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.continuing = 0
        self._blocks: list[tuple[int, int, list[_Struct]]] = []

    def begin_block(self, replica: int, clock: int) -> None:
        super().begin_block(replica, clock)
        self._blocks.append((replica, clock, []))

    def struct(self) -> int:
        """Step over a struct and keep it."""
        start, loose = self._at, self.shape.loose_count
        length = super().struct()
        information = self._bytes[start]
        kind = information & 0x1F
        structs = self._blocks[-1][2]
        found = self._read(kind, information, start, length)
        previous = structs[-1] if structs else None
        continues = self.shape.loose_count == loose and not information & _HAS_PARENT_KEY
        if (
            previous is not None
            and continues
            and kind in _JOINABLE
            and previous.kind == kind
            and not previous.head[0] & _HAS_PARENT_KEY
            and previous.structs < MAX_JOINED
        ):
            previous.count += found.count
            previous.parts += found.parts
            previous.structs += 1
            self.continuing += 1
        else:
            structs.append(found)
        return length

    def _read(self, kind: int, information: int, start: int, length: int) -> _Struct:
        if kind not in _JOINABLE:
            return _Struct(kind, self._bytes[start : self._at], 0)
        head, at = self._bytes[start : self._content_at], self._content_at
        while self._bytes[at] & 0x80:
            at += 1
        body = self._bytes[at + 1 : self._at]
        return _Struct(kind, head, len(body) if kind == _STRING else length, [body] if body else [])

    def joined(self) -> bytes:
        """Write what was collected, and the deletions as they were."""
        parts = [varuint(len(self._blocks))]
        for replica, clock, structs in self._blocks:
            parts += (varuint(len(structs)), varuint(replica), varuint(clock))
            for struct in structs:
                struct.encode(parts)
        parts.append(self._bytes[self._deletions_at :])
        return b"".join(parts)
