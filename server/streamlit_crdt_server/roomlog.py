"""One room's part of a store, and when it is worth replacing by the room's state."""

from __future__ import annotations

from typing import Any

from pycrdt import Doc

from streamlit_crdt_server.apply import read_state
from streamlit_crdt_server.store import Store, StoredRoom

COMPACT_OVER_BYTES = 64 * 1024
COMPACT_RATIO = 4
"""The log is replaced by the state once it exceeds so many bytes and so many times the last state: encoding a
state costs as much as the room is large, and so costs little per byte that was written."""


class RoomLog:
    """The log of one room.

    Attributes:
        size_bytes: How much is in it, as far as this process knows.
    """

    def __init__(self, store: Store, room: str) -> None:
        self.size_bytes = 0
        self._store = store
        self._room = room
        self._state_bytes = 0

    async def load(self) -> StoredRoom:
        """Return the room as it is stored."""
        stored = await self._store.load(self._room)
        self.size_bytes = sum(map(len, stored.updates))
        return stored

    async def append(self, update: bytes, ydoc: Doc[Any]) -> None:
        """Add an update, which `ydoc` holds already; it is saved when this returns."""
        await self._store.append(self._room, update)
        self.size_bytes += len(update)
        if self.size_bytes > max(COMPACT_OVER_BYTES, COMPACT_RATIO * self._state_bytes):
            state = read_state(ydoc)
            await self._store.compact(self._room, state)
            self.size_bytes = self._state_bytes = len(state)
