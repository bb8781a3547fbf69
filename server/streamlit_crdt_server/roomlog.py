"""One room's part of a store, and when it is worth replacing by the room's state."""

from __future__ import annotations

from streamlit_crdt_server.store import Store, StoredRoom

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
