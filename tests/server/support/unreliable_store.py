"""A store that does what a test tells it: fails to load, fails to write, takes its time."""

from __future__ import annotations

import asyncio

from streamlit_crdt_server import MemoryStore, StoredRoom, StoreFullError, StoreUnavailableError


class UnreliableStore(MemoryStore):
    """A `MemoryStore` that can be broken.

    Attributes:
        can_load: Whether rooms can be read.
        can_write: Whether anything can be written.
        may_load: Cleared, every load waits until it is set.
        loads: How often a room was to be read.
        may_commit: Cleared, every append waits until it is set.
        attempts: How often something was to be appended.
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
