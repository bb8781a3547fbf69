"""The `Store` protocol, the log of one room, and the store in memory.

A store is one log per room: updates in the order in which they were appended, which `compact` replaces by one update
with the same state. A room appends an update before it acknowledges it (rule S5). A failed call raises an error: it
never returns an empty or a partial room (rule S4).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from streamlit_crdt_server.errors import DiskLimitError
from streamlit_crdt_server.storage.disk_usage import DiskUsage

COMPACT_OVER_BYTES = 64 * 1024
COMPACT_RATIO = 4
"""Size of a log, in bytes and as a multiple of the last state, above which it is replaced by the state. Encoding a
state costs as much as the room is large. With this ratio the cost per appended byte is small."""


@dataclass(frozen=True, slots=True)
class StoredRoom:
    """A room as it is stored.

    Attributes:
        epoch: 32 hex digits, generated when the room is first loaded or written, and again after `delete()`. Rooms of
            the same name and different epochs are never merged.
        updates: The updates (Yjs v1) in the order in which they were appended.
        set_aside: Number of updates that were reported as damaged and moved out of the log. The store keeps them for
            examination. As far as it can detect, the room is complete without them.
        past: What the last `rewrite` stored, b"" if there was none.
    """

    epoch: str
    updates: tuple[bytes, ...]
    set_aside: int = 0
    past: bytes = b""


class Store(Protocol):
    """A log of updates per room, used as `async with store:`.

    A room makes one call at a time; calls for different rooms run concurrently. A method that fails raises a
    `StoreError`, has changed nothing as far as it can detect, and may be called again: a store works again as soon as
    its disk does. With a failing disk an update may be stored although `append` raised. The room appends it again,
    which changes nothing.

    Attributes:
        level: What an appended update survives: 1 the closing of its room, 2 the end of the process.
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
        """Return `room`. A room that was never written has no updates, and has an epoch from now on."""
        ...

    async def append(self, room: str, update: bytes) -> None:
        """Append `update` to the log. It is saved when this returns (rule S5)."""
        ...

    async def compact(self, room: str, state: bytes) -> None:
        """Replace the log by `state`, one update with the same content, including deletions (rule S3)."""
        ...

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        """Move an update that damages the document out of the log, and keep it."""
        ...

    async def delete(self, room: str) -> None:
        """Delete `room` and its updates that were set aside. A new room of this name has another epoch."""
        ...

    async def rooms(self) -> Sequence[str]:
        """Return the sorted names of the rooms that were loaded or written."""
        ...

    async def written(self) -> Sequence[str]:
        """Return the sorted names of the rooms with at least one update, in the log or set aside."""
        ...


@runtime_checkable
class RewritingStore(Protocol):
    """A `Store` that can replace the document of a room. The rooms of other stores are never rewritten."""

    async def rewrite(self, room: str, state: bytes, past: bytes) -> None:
        """Replace the log by the state of another document, and the epoch by a new one, in one transaction.

        Args:
            room: The room.
            state: The whole state of the new document.
            past: What the room keeps of its former documents, see `StoredRoom`.
        """
        ...


def new_epoch() -> str:
    """Return a random epoch of 32 hex digits."""
    return secrets.token_hex(16)


@dataclass(slots=True)
class _Log:
    epoch: str
    updates: list[bytes]
    set_aside: list[bytes]
    past: bytes = b""


class MemoryStore:
    """A store in memory, from which a damaged document can be loaded again.

    The first epoch of a room is the same in each process; only a deleted room gets a random one. The content ends with
    the process, and open tabs send it again. With an epoch per process, tabs would treat a restart as a deletion.
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
        """Keep all rooms, because the store may be entered again."""

    async def load(self, room: str) -> StoredRoom:
        log = self._log(room)
        return StoredRoom(log.epoch, tuple(log.updates), len(log.set_aside), log.past)

    async def append(self, room: str, update: bytes) -> None:
        self._log(room).updates.append(update)

    async def compact(self, room: str, state: bytes) -> None:
        self._log(room).updates[:] = [state]

    async def rewrite(self, room: str, state: bytes, past: bytes) -> None:
        """See `RewritingStore`."""
        self._logs[room] = _Log(new_epoch(), [state], self._log(room).set_aside, past)

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

    async def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each room, see `SizedStore`."""
        return {room: sum(map(len, (*log.updates, *log.set_aside))) for room, log in self._logs.items()}

    def _log(self, room: str) -> _Log:
        if room not in self._logs:
            epoch = new_epoch() if room in self._deleted else _first_epoch(room)
            self._logs[room] = _Log(epoch, [], [])
        return self._logs[room]


def _first_epoch(room: str) -> str:
    return hashlib.blake2b(room.encode(), digest_size=16).hexdigest()


class RoomLog:
    """The log of one room.

    Attributes:
        room: The name of the room.
        level: A `StoreLevel`, which says what an appended update survives.
        epoch: Epoch of the room, or "" before the log is loaded.
        size_bytes: Bytes in the log that this process loaded or appended.
        past: What the room keeps of its former documents, see `StoredRoom`. b"" before the log is loaded.
    """

    def __init__(self, store: Store, room: str, usage: DiskUsage | None = None) -> None:
        """Create a log that is not loaded.

        Args:
            store: The store.
            room: The name of the room.
            usage: Records the size of the room, and has its limits. None sets no limit.
        """
        self.room = room
        self.level = store.level
        self.epoch = ""
        self.size_bytes = 0
        self.past = b""
        self._usage = usage
        self._store = store
        self._compact_over_bytes = COMPACT_OVER_BYTES

    @property
    def is_compaction_due(self) -> bool:
        """True if the log is long enough to be replaced by the state."""
        return self.size_bytes > self._compact_over_bytes

    @property
    def is_compaction_cheap(self) -> bool:
        """True if the log is so short that compaction may run even if it is not due."""
        return self.size_bytes <= COMPACT_OVER_BYTES

    async def load(self) -> StoredRoom:
        """Return the stored room."""
        stored = await self._store.load(self.room)
        self.epoch = stored.epoch
        self.past = stored.past
        self.size_bytes = sum(map(len, stored.updates))
        if self._usage is not None:
            self._usage.note_loaded(self.room, self.size_bytes)
        return stored

    async def append(self, update: bytes) -> None:
        """Append an update. It is saved when this returns."""
        await self._store.append(self.room, update)
        self._resize(self.size_bytes + len(update))

    async def set_aside(self, update: bytes, why: str) -> None:
        """Move an update that damages the document out of the log. The store keeps it."""
        await self._store.set_aside(self.room, update, why)
        if self._usage is not None:  # the next compaction subtracts it as a part of the log
            self._usage.resize(self.room, len(update))

    async def compact(self, state: bytes | None) -> None:
        """Replace the log by `state`. If that fails, or `state` is None, compaction is due again at twice the size."""
        self._compact_over_bytes = 2 * self.size_bytes
        if state is None:
            return
        await self._store.compact(self.room, state)
        self._resize(len(state))
        self._compact_over_bytes = max(COMPACT_OVER_BYTES, COMPACT_RATIO * len(state))

    @property
    def is_rewritable(self) -> bool:
        """True if the store can replace the document."""
        return isinstance(self._store, RewritingStore)

    async def rewrite(self, state: bytes, past: bytes) -> None:
        """Replace the document, see `RewritingStore`. The room is loaded again afterwards."""
        assert isinstance(self._store, RewritingStore)
        await self._store.rewrite(self.room, state, past)
        self._resize(len(state))

    async def delete(self) -> None:
        """Delete the room. The store creates a new room of this name, with another epoch, when it is next used."""
        await self._store.delete(self.room)

    def find_excess(self) -> DiskLimitError | None:
        """Return the error of an update that would exceed a limit of bytes on disk, None if the room may grow."""
        excess = None if self._usage is None else self._usage.find_excess(self.room)
        return None if excess is None else DiskLimitError(self.room, *excess)

    def _resize(self, size_bytes: int) -> None:
        if self._usage is not None:
            self._usage.resize(self.room, size_bytes - self.size_bytes)
        self.size_bytes = size_bytes
