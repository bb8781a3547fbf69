"""The batches of a room that are not saved yet, kept small for however long its store takes.

Somebody who overwrites one key for an hour while the disk is full would otherwise fill the memory with what
nobody sees any more. So what waits becomes one batch, and once that is larger than the room itself it is
replaced by the room's whole state, which holds the same and more.
"""

from __future__ import annotations

from streamlit_crdt_server.unsaved import Unsaved, join

MIN_LONG_BYTES = 256 * 1024
LONG_RATIO = 2
"""What waits is worth comparing with the state above so many bytes and above so many times the last state:
reading a state costs as much as the room is large, and so costs little per byte that waits."""

MAX_BATCHES = 256
"""Merging costs the square of the number of updates: this many take a millisecond."""


class Backlog:
    """The unsaved batches, in order; the first ones may be on their way into the store.

    Attributes:
        batches: All of them.
    """

    def __init__(self) -> None:
        self.batches: list[Unsaved] = []
        self._sent = 0
        self._waiting_bytes = 0
        self._state_bytes = 0

    @property
    def waiting(self) -> list[Unsaved]:
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

    def put(self, batch: Unsaved) -> None:
        self.batches.append(batch)
        self._waiting_bytes += _size(batch)

    def send(self) -> list[Unsaved]:
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


def _size(batch: Unsaved) -> int:
    return 0 if batch.update is None else len(batch.update)
