"""Write batches of a room that are not saved yet, bounded in size while the store is slow or fails.

A participant may overwrite one key for an hour while the disk is full. Without a bound the memory would fill with
overwritten content. Queued batches are therefore joined, and a joined batch larger than the room is replaced by the
room's whole state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from pycrdt import merge_updates

from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate

REPLACE_QUEUED_OVER_BYTES = 256 * 1024
REPLACE_QUEUED_OVER_RATIO = 2
"""A joined batch is compared with the state above this size, and above this multiple of the last state.

The cost of reading the state is proportional to the room, so these bounds keep the cost per queued byte low.
"""

MAX_BATCHES = 256
"""Queued batches that are joined. A merge costs the square of the number of updates: 1 ms for this many."""


@dataclass(slots=True)
class WriteBatch:
    """The result of one flush, between sending it to peers and saving it.

    Attributes:
        update: The update to store. None if the document did not change and only the order of acks must be kept.
        ack_to: The peers that receive `update` as the ack after it is saved.
        entries: The updates of peers that it consists of.
        external: The changes in it that no peer sent: those of server code and of the log.
        saved_queries: The peers that sent a saved query, and its version.
        unshared: The peers in `ack_to` that have not received the updates of others in it.
        since: Monotonic time at which it was sent, in seconds.
    """

    update: bytes | None = None
    ack_to: set[Peer] = field(default_factory=set)
    entries: list[QueuedUpdate] = field(default_factory=list)
    external: Sequence[bytes] = ()
    saved_queries: dict[Peer, int] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    unshared: set[Peer] = field(init=False)

    def __post_init__(self) -> None:
        senders = {entry.peer for entry in self.entries}
        self.unshared = set(self.ack_to) if len(senders) > 1 or self.external else set()

    def take_unshared(self, peers: AbstractSet[Peer]) -> Iterator[tuple[Peer, bytes]]:
        """Yield each of the unshared peers in `peers`, and the updates of others in this batch, merged."""
        updates = [(entry.peer, entry.update.data) for entry in self.entries]
        for peer in self.unshared & peers:
            others = [*self.external, *(update for sender, update in updates if sender is not peer)]
            yield peer, others[0] if len(others) == 1 else merge_updates(*others)
        self.unshared -= peers


def join(batches: Sequence[WriteBatch]) -> WriteBatch:
    """Join consecutive batches into one. They must be shared: the result does not record the senders' updates."""
    joined = WriteBatch(merged(batches), since=batches[0].since)
    for batch in batches:
        joined.ack_to |= batch.ack_to
        joined.entries += (
            replace(entry, update=ValidatedUpdate(b"")) for entry in batch.entries if entry.done is not None
        )
        joined.saved_queries |= batch.saved_queries
    return joined


def merged(batches: Sequence[WriteBatch]) -> bytes | None:
    """Merge the updates of batches into one. None if no batch has an update."""
    updates = [batch.update for batch in batches if batch.update is not None]
    if len(updates) > 1:
        return merge_updates(*updates)
    return updates[0] if updates else None


class WriteQueue:
    """The unsaved batches of a room in order. The first ones may be in a write to the store.

    Attributes:
        batches: All unsaved batches.
    """

    def __init__(self) -> None:
        self.batches: list[WriteBatch] = []
        self._writing = 0
        self._queued_bytes = 0
        self._state_bytes = 0

    @property
    def queued(self) -> list[WriteBatch]:
        """The batches that are not in a write."""
        return self.batches[self._writing :]

    @property
    def has_many(self) -> bool:
        """True if the queued batches are worth joining."""
        return len(self.batches) - self._writing > MAX_BATCHES

    @property
    def is_long(self) -> bool:
        """True if the queued batches are worth comparing with the room's state."""
        return self._queued_bytes > max(
            REPLACE_QUEUED_OVER_BYTES, REPLACE_QUEUED_OVER_RATIO * self._state_bytes
        )

    def put(self, batch: WriteBatch) -> None:
        self.batches.append(batch)
        self._queued_bytes += _size(batch)

    def start_write(self) -> list[WriteBatch]:
        """Return all batches. Call `finish_write` or `fail_write` afterwards."""
        self._writing = len(self.batches)
        self._queued_bytes = 0
        return list(self.batches)

    def finish_write(self) -> None:
        """Remove the batches that were written."""
        del self.batches[: self._writing]
        self._writing = 0

    def fail_write(self) -> None:
        """Queue the batches of the write again."""
        self._writing = 0
        self._queued_bytes = sum(map(_size, self.batches))

    def join(self) -> None:
        """Join the queued batches into one. They must be shared."""
        if len(queued := self.queued) > 1:
            self.batches[self._writing :] = [join(queued)]
            self._queued_bytes = _size(self.batches[-1])

    def replace(self, state: bytes | None) -> None:
        """Replace the update of the joined batch by `state`, which contains it, if that is smaller.

        Args:
            state: The room's state. None if it is unreadable: the next attempt follows when twice as much is queued.
        """
        self._state_bytes = self._queued_bytes if state is None else len(state)
        if state is not None and len(state) < self._queued_bytes:
            self.batches[-1].update = state
            self._queued_bytes = len(state)

    def clear(self) -> None:
        """Remove all batches."""
        self.batches.clear()
        self._writing = self._queued_bytes = 0


def _size(batch: WriteBatch) -> int:
    return 0 if batch.update is None else len(batch.update)
