"""Where a room's updates are kept.

A store is a log per room: updates in the order in which they were appended, now and then replaced by one
update that holds the same state. A room appends before it confirms an update to its sender (rule S5), and a
store that fails raises: it never answers with an empty or a partial room (rule S4).

One room's part of a store, and when it is worth replacing by the room's state.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

COMPACT_OVER_BYTES = 64 * 1024
COMPACT_RATIO = 4
"""The log is replaced by the state once it exceeds so many bytes and so many times the last state: encoding a
state costs as much as the room is large, and so costs little per byte that was written."""


class RoomLog:
    """The log of one room.

    Attributes:
        room: The room's name.
        level: What an update that was appended survives, see `StoreLevel`.
        epoch: Which of the histories that had this name it is; empty until it was loaded.
        size_bytes: How much is in it, as far as this process knows.
    """

    def __init__(self, store: Store, room: str) -> None:
        self.room = room
        self.level = store.level
        self.epoch = ""
        self.size_bytes = 0
        self._store = store
        self._compact_over_bytes = COMPACT_OVER_BYTES

    @property
    def is_long(self) -> bool:
        """Whether it is worth replacing by the state."""
        return self.size_bytes > self._compact_over_bytes

    @property
    def is_short(self) -> bool:
        """Whether replacing it by the state costs so little that it may be done for any reason."""
        return self.size_bytes <= COMPACT_OVER_BYTES

    async def load(self) -> StoredRoom:
        """Return the room as it is stored."""
        stored = await self._store.load(self.room)
        self.epoch = stored.epoch
        self.size_bytes = sum(map(len, stored.updates))
        return stored

    async def append(self, update: bytes) -> None:
        """Add an update; it is saved when this returns."""
        await self._store.append(self.room, update)
        self.size_bytes += len(update)

    async def set_aside(self, update: bytes, why: str) -> None:
        """Move an update that damages the document out of the log."""
        await self._store.set_aside(self.room, update, why)

    async def compact(self, state: bytes | None) -> None:
        """Replace the log by `state`; if that fails, or there is none, it is tried again once the log has doubled."""
        self._compact_over_bytes = 2 * self.size_bytes
        if state is None:
            return
        await self._store.compact(self.room, state)
        self.size_bytes = len(state)
        self._compact_over_bytes = max(COMPACT_OVER_BYTES, COMPACT_RATIO * len(state))

    async def delete(self) -> None:
        """Forget the room; the store begins another one under this name."""
        await self._store.delete(self.room)


@dataclass(frozen=True, slots=True)
class StoredRoom:
    """What a store holds of one room.

    Attributes:
        epoch: 32 hex digits, drawn when the room is first loaded or written, and anew after `delete()`. Two
            histories of one name are told apart by it, and never merged.
        updates: The updates (Yjs v1) in the order in which they were appended.
        set_aside: How many damaged or poisonous updates of this room were reported and put aside. The room is
            whole without them as far as the store can tell; they are kept for somebody to look at.
    """

    epoch: str
    updates: tuple[bytes, ...]
    set_aside: int = 0


class Store(Protocol):
    """A log of updates per room, used as `async with store:`.

    A room has one call under way at a time; calls for different rooms run side by side. Every method raises a
    `StoreError` when it fails, has then changed nothing as far as it knows, and may be called again: a store
    that failed once works again as soon as its disk does. The one doubt that a failing disk leaves is an
    update that was stored although `append` raised; a room appends it again, which changes nothing.

    Attributes:
        level: What an update that was appended survives: 1 the room's closing, 2 the end of the process.
    """

    level: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...

    async def load(self, room: str) -> StoredRoom:
        """Return all of `room`; a room that was never written to has no updates, but an epoch from now on."""
        ...

    async def append(self, room: str, update: bytes) -> None:
        """Add `update` to the log; it is saved when this returns (rule S5)."""
        ...

    async def compact(self, room: str, state: bytes) -> None:
        """Replace the log by `state`, an update that holds all that was appended, deletions too (rule S3)."""
        ...

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        """Move an update that `load` gave, and that the room cannot live with, out of the log; it is kept."""
        ...

    async def delete(self, room: str) -> None:
        """Forget `room`, what was set aside as well; it begins anew under another epoch."""
        ...

    async def rooms(self) -> Sequence[str]:
        """Return the names of the rooms that were loaded or written, sorted."""
        ...

    async def written(self) -> Sequence[str]:
        """Return the names of the rooms that hold something, if only what was set aside, sorted."""
        ...


def draw_epoch() -> str:
    """Draw the epoch of a room that begins: 32 hex digits."""
    return secrets.token_hex(16)


@dataclass(slots=True)
class _Log:
    epoch: str
    updates: list[bytes]
    set_aside: list[bytes]


class MemoryStore:
    """Keeps rooms until the process ends. It exists so that a room damaged in memory can be loaded again.

    A room begins under the same epoch in every process, and under a drawn one only after it was deleted: its
    content ends with the process, and the tabs that are still open bring it back. With an epoch per process a
    restart would look to them as if somebody had deleted the room.
    """

    level = 1

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._deleted: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Keep everything: whoever holds this store may enter it again."""

    async def load(self, room: str) -> StoredRoom:
        log = self._log(room)
        return StoredRoom(log.epoch, tuple(log.updates), len(log.set_aside))

    async def append(self, room: str, update: bytes) -> None:
        self._log(room).updates.append(update)

    async def compact(self, room: str, state: bytes) -> None:
        self._log(room).updates[:] = [state]

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        log = self._log(room)
        if update in log.updates:
            log.updates.remove(update)
            log.set_aside.append(update)

    async def delete(self, room: str) -> None:
        log = self._logs.pop(room, None)
        if log is not None and (log.updates or log.set_aside):
            self._deleted.add(room)

    async def rooms(self) -> Sequence[str]:
        return sorted(self._logs)

    async def written(self) -> Sequence[str]:
        return sorted(room for room, log in self._logs.items() if log.updates or log.set_aside)

    def _log(self, room: str) -> _Log:
        if room not in self._logs:
            epoch = draw_epoch() if room in self._deleted else _first_epoch(room)
            self._logs[room] = _Log(epoch, [], [])
        return self._logs[room]


def _first_epoch(room: str) -> str:
    return hashlib.blake2b(room.encode(), digest_size=16).hexdigest()
