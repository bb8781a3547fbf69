"""Where a room's updates are kept.

A store is a log per room: updates in the order in which they were appended, now and then replaced by one
update that holds the same state. A room appends before it confirms an update to its sender (rule S5), and a
store that fails raises: it never answers with an empty room (rule S4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Store(Protocol):
    """A log of updates per room. A room has one append or compact under way at a time."""

    async def load(self, room: str) -> Sequence[bytes]:
        """Return the updates of `room` in order; none if it was never written to."""
        ...

    async def append(self, room: str, update: bytes) -> None:
        """Add `update` to the log; it is saved when this returns."""
        ...

    async def compact(self, room: str, state: bytes) -> None:
        """Replace the log by `state`, an update that holds all that was appended, deletions too (rule S3)."""
        ...

    async def delete(self, room: str) -> None:
        """Forget `room`."""
        ...


class MemoryStore:
    """Keeps rooms until the process ends. It exists so that a room damaged in memory can be loaded again."""

    def __init__(self) -> None:
        self._logs: dict[str, list[bytes]] = {}

    async def load(self, room: str) -> Sequence[bytes]:
        return tuple(self._logs.get(room, ()))

    async def append(self, room: str, update: bytes) -> None:
        self._logs.setdefault(room, []).append(update)

    async def compact(self, room: str, state: bytes) -> None:
        self._logs[room] = [state]

    async def delete(self, room: str) -> None:
        self._logs.pop(room, None)
