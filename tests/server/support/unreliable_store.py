"""A store that fails or blocks on request of a test."""

from __future__ import annotations

import asyncio

from streamlit_crdt_server import MemoryStore, StoredRoom, StoreFullError, StoreUnavailableError


class UnreliableStore(MemoryStore):
    """A `MemoryStore` with controllable faults.

    Attributes:
        can_load: Whether `load` succeeds.
        can_write: Whether writes succeed.
        may_load: While it is cleared, loads wait.
        loads: Number of calls of `load`.
        may_commit: While it is cleared, appends wait.
        attempts: Number of calls of `append`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.can_load = True
        self.can_write = True
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.loads = 0
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.attempts = 0

    async def load(self, room: str) -> StoredRoom:
        self.loads += 1
        await self.may_load.wait()
        if not self.can_load:
            raise StoreUnavailableError("rooms.db", "disk on fire")
        return await super().load(room)

    async def append(self, room: str, update: bytes) -> None:
        self.attempts += 1
        await self.may_commit.wait()
        self._check()
        await super().append(room, update)

    async def compact(self, room: str, state: bytes) -> None:
        self._check()
        await super().compact(room, state)

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        self._check()
        await super().set_aside(room, update, why)

    async def delete(self, room: str) -> None:
        self._check()
        await super().delete(room)

    def _check(self) -> None:
        if not self.can_write:
            raise StoreFullError("rooms.db", "disk full")
