"""WebSocket proxy that delays, reorders and duplicates whole update frames."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import WebSocketException

from streamlit_crdt_server.protocol import MessageType, SyncType
from tests.support.tasks import run_until_one_ends

UPDATE = bytes((MessageType.SYNC, SyncType.UPDATE))
LONGEST_DELAY_S = 0.2
MAX_BYTES = 2**26


class ReorderingProxy:
    """A proxy to `target_port`. `faults` counts the faults.

    An update frame may overtake other update frames of its connection and direction. Every other frame waits for all
    earlier update frames: a save query or a SyncStep2 makes a statement about them.
    """

    def __init__(self, randomness: random.Random, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.is_calm = False
        self.faults: Counter[str] = Counter()
        self._randomness = randomness

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ReorderingProxy]:
        async with serve(self._join, "127.0.0.1", 0, max_size=MAX_BYTES, compression=None) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def _join(self, near: ServerConnection) -> None:
        """Forward in both directions until one of them ends, which ends the other."""
        assert near.request is not None
        address = f"ws://127.0.0.1:{self.target_port}{near.request.path}"
        with suppress(OSError, WebSocketException):
            async with connect(address, max_size=MAX_BYTES, compression=None) as far:
                await run_until_one_ends(self._forward(near, far), self._forward(far, near))

    async def _forward(self, source: Connection, target: Connection) -> None:
        late: set[asyncio.Task[None]] = set()
        try:
            async for frame in source:
                assert isinstance(frame, bytes)
                if frame.startswith(UPDATE) and not self.is_calm:
                    for _ in range(self._copies()):
                        late.add(asyncio.ensure_future(self._send_later(target, frame)))
                elif frame[0] != MessageType.AWARENESS and late:
                    await asyncio.wait(late)
                late = {task for task in late if not task.done()}
                if self.is_calm or not frame.startswith(UPDATE):
                    await target.send(frame)
        except WebSocketException:
            return
        finally:
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _copies(self) -> int:
        is_duplicate = self._randomness.random() < 0.1
        self.faults["duplicated"] += is_duplicate
        return 1 + is_duplicate

    async def _send_later(self, target: Connection, frame: bytes) -> None:
        if self._randomness.random() < 0.7:
            self.faults["delayed"] += 1
            await asyncio.sleep(self._randomness.uniform(0, LONGEST_DELAY_S))
        with suppress(WebSocketException):
            await target.send(frame)
