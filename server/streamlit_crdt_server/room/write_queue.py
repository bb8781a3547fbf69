"""The batches of a room that are not saved yet, kept small for however long its store takes.

Somebody who overwrites one key for an hour while the disk is full would otherwise fill the memory with what
nobody sees any more. So what waits becomes one batch, and once that is larger than the room itself it is
replaced by the room's whole state, which holds the same and more.

What a flush leaves to be saved: an update, and everybody who waits to hear that it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pycrdt import merge_updates

from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.peers import Peer


@dataclass(slots=True)
class WriteBatch:
    """One flush, from its being sent to its being saved.

    Attributes:
        update: What is to be stored; None if nothing was changed, and only the order is to be kept.
        echo_to: Who gets the update back as confirmation.
        entries: The updates that it consists of, as they came.
        foreign: What it holds besides: changes that server code made to the document.
        questions: Who asked whether everything before is saved, and under which version.
        is_shared: Whether the senders have been given each other's updates, ahead of their own.
        since: When it was sent to the others.
    """

    update: bytes | None = None
    echo_to: set[Peer] = field(default_factory=set)
    entries: list[QueuedUpdate] = field(default_factory=list)
    foreign: bytes | None = None
    questions: dict[Peer, int] = field(default_factory=dict)
    is_shared: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def has_mates(self) -> bool:
        """Whether some of those who wait for the confirmation lack each other's updates meanwhile."""
        return not self.is_shared and (len(self.echo_to) > 1 or bool(self.echo_to and self.foreign))

    def shares(self) -> Mapping[Peer, bytes]:
        """What each sender lacks of its own batch: all but its own updates."""
        updates = [(entry.peer, entry.update) for entry in self.entries]
        foreign = [] if self.foreign is None else [self.foreign]
        shares = {}
        for peer in self.echo_to:
            others = [*foreign, *(update for sender, update in updates if sender is not peer)]
            if others:
                shares[peer] = others[0] if len(others) == 1 else merge_updates(*others)
        return shares


def join(batches: Sequence[WriteBatch]) -> WriteBatch:
    """Make one of several that follow each other, so that what waits for long costs little.

    The senders must have been given each other's updates: who sent what is forgotten.
    """
    joined = WriteBatch(merged(batches), is_shared=True, since=batches[0].since)
    for batch in batches:
        joined.echo_to |= batch.echo_to
        joined.entries += (
            replace(entry, update=b"", reach={}) for entry in batch.entries if entry.done is not None
        )
        joined.questions |= batch.questions
    return joined


def merged(batches: Sequence[WriteBatch]) -> bytes | None:
    """Merge the updates of several into one; None if none of them has any."""
    updates = [batch.update for batch in batches if batch.update is not None]
    if len(updates) > 1:
        return merge_updates(*updates)
    return updates[0] if updates else None


MIN_LONG_BYTES = 256 * 1024
LONG_RATIO = 2
"""What waits is worth comparing with the state above so many bytes and above so many times the last state:
reading a state costs as much as the room is large, and so costs little per byte that waits."""

MAX_BATCHES = 256
"""Merging costs the square of the number of updates: this many take a millisecond."""


class WriteQueue:
    """The unsaved batches, in order; the first ones may be on their way into the store.

    Attributes:
        batches: All of them.
    """

    def __init__(self) -> None:
        self.batches: list[WriteBatch] = []
        self._sent = 0
        self._waiting_bytes = 0
        self._state_bytes = 0

    @property
    def waiting(self) -> list[WriteBatch]:
        """Those which are not on their way into the store."""
        return self.batches[self._sent :]

    @property
    def has_many(self) -> bool:
        """Whether those that wait are worth joining."""
        return len(self.batches) - self._sent > MAX_BATCHES

    @property
    def is_long(self) -> bool:
        """Whether what waits is worth replacing by the state."""
        return self._waiting_bytes > max(MIN_LONG_BYTES, LONG_RATIO * self._state_bytes)

    def put(self, batch: WriteBatch) -> None:
        self.batches.append(batch)
        self._waiting_bytes += _size(batch)

    def send(self) -> list[WriteBatch]:
        """Return all, which are on their way until `sent` or `came_back` is called."""
        self._sent = len(self.batches)
        self._waiting_bytes = 0
        return list(self.batches)

    def sent(self) -> None:
        """Forget what was on its way: it is saved."""
        del self.batches[: self._sent]
        self._sent = 0

    def came_back(self) -> None:
        """Have what was on its way wait again."""
        self._sent = 0
        self._waiting_bytes = sum(map(_size, self.batches))

    def join(self) -> None:
        """Make one of those that wait; their senders must have been given each other's updates."""
        if len(waiting := self.waiting) > 1:
            self.batches[self._sent :] = [join(waiting)]
            self._waiting_bytes = _size(self.batches[-1])

    def replace(self, state: bytes | None) -> None:
        """Put `state`, which holds all that waits and was joined, in its place if it is smaller.

        Without one, because it could not be read, this is put off until twice as much waits.
        """
        self._state_bytes = self._waiting_bytes if state is None else len(state)
        if state is not None and len(state) < self._waiting_bytes:
            self.batches[-1].update = state
            self._waiting_bytes = len(state)

    def clear(self) -> None:
        """Forget everything."""
        self.batches.clear()
        self._sent = self._waiting_bytes = 0


def _size(batch: WriteBatch) -> int:
    return 0 if batch.update is None else len(batch.update)
