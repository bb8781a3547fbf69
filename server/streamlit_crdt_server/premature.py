"""Updates that wait inside a document for what is missing, and how many may.

Whoever sends what can never be completed would otherwise fill the memory and the log, and slow everybody down:
with pycrdt 0.14.13 each further update of this kind costs as much as those that wait already, 10 s of the loop
for 20 000 of 20 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from pycrdt import get_update, merge_updates

from streamlit_crdt_server.peer import Peer
from streamlit_crdt_server.protocol import EMPTY_UPDATE
from streamlit_crdt_server.yjs.structs import Place, read_pieces
from streamlit_crdt_server.yjs.update_decoder import check_update

MAX_UPDATES = 1024
MAX_BYTES = 4 * 1024 * 1024
"""More than this need not be kept: what is missing is mostly on its way, and who sent it is told to start over."""

SMALL_BYTES = 64 * 1024
"""As much as people write ahead of what is on its way; a document takes 5 ms for it, and 200 ms for what may wait."""

_CHUNK = 64
"""Merging many updates at once costs the square of their number: 0.8 s for 10 000."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An update that waits.

    Attributes:
        reach: How far it reaches, as `check_update` says.
        peer: Who sent it; None if it comes from the log.
    """

    update: bytes
    reach: Mapping[int, int]
    peer: Peer | None = None


class Premature:
    """The updates that wait, and the same as few."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, Waiting] = {}
        self._parts: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    @property
    def parts(self) -> tuple[bytes, ...]:
        """What waits; to be merged by whoever needs it."""
        return tuple(self._parts)

    @property
    def is_small(self) -> bool:
        """Whether giving all of it to the document once more costs little."""
        return self._bytes <= SMALL_BYTES

    def holds(self, update: bytes) -> bool:
        """Whether this very update waits already."""
        return _digest(update) in self._waiting

    def has_space(self, update: bytes) -> bool:
        """Whether `update` may wait as well; a single one may be as large as a frame."""
        return not self._waiting or (
            len(self._waiting) < MAX_UPDATES and self._bytes + len(update) <= MAX_BYTES
        )

    def add(self, waiting: Waiting) -> None:
        """Have an update wait."""
        self._waiting[_digest(waiting.update)] = waiting
        self._parts.append(waiting.update)
        self._bytes += len(waiting.update)
        if len(self._parts) > _CHUNK:
            self._parts = [merge_updates(*self._parts)]
            self._bytes = len(self._parts[0])

    def release(self, covers: Callable[[Mapping[int, int]], bool], vector: Callable[[], bytes]) -> None:
        """Forget what has become part of the document.

        Args:
            covers: Whether the document reaches so far.
            vector: Encodes the document's state vector; asked for only if there is something to forget.
        """
        left = {digest: waiting for digest, waiting in self._waiting.items() if not covers(waiting.reach)}
        if len(left) == len(self._waiting):
            return
        self._waiting = left
        self._parts = [get_update(merge_updates(*self._parts), vector())] if left else []
        self._bytes = sum(map(len, self._parts))


def without(premature: Premature, places: Collection[Place]) -> tuple[Premature, list[Waiting]]:
    """Leave out the structs at some places. Any thread.

    Of an update that somebody sent, all that the same replica wrote later goes with them: nobody would ever see it.
    What the log holds may be merged from the updates of several people.

    Returns:
        What still waits; and those updates which had such structs.
    """
    left, changed = Premature(), list[Waiting]()
    replicas = {replica for replica, _, _ in places}
    for waiting in premature:
        rest = None
        if not replicas.isdisjoint(waiting.reach):
            rest = read_pieces(waiting.update).without(places, and_after=waiting.peer is not None)
        if rest is not None:
            changed.append(waiting)
        if rest != EMPTY_UPDATE:
            left.add(waiting if rest is None else Waiting(rest, check_update(rest), waiting.peer))
    return left, changed


def _digest(update: bytes) -> bytes:
    return blake2b(update, digest_size=16).digest()
