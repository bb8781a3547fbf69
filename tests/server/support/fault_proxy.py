"""TCP proxy that simulates a failing network: delays, resets, and connections cut within a frame."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.tasks import run_until_one_ends

CHUNK_BYTES = 4096
LONGEST_DELAY_S = 0.03
MEAN_LIFE_BYTES = 60_000
"""Mean bytes in one direction after which a connection ends: one to three seconds in these tests."""


class FaultProxy:
    """A proxy to `target_port`. `faults` counts the faults.

    Each connection gets its faults when it is opened: its delay, the bytes after which it ends, and whether it ends
    with a reset or within the bytes that were just read.
    """

    def __init__(self, randomness: random.Random, target_port: int) -> None:
        self.target_port = target_port
        self.is_calm = False
        self.faults: Counter[str] = Counter()
        self._randomness = randomness
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=CHUNK_BYTES)
        try:
            yield self
        finally:
            self._server.close()
            for connection in tuple(self._connections):
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        ends = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection(
                "127.0.0.1", self.target_port, limit=CHUNK_BYTES
            )
            ends.append(target_writer)
            await self._join(reader, target_writer, target_reader, writer)
        except OSError:
            self.faults["refused"] += 1
        finally:
            for end in ends:
                end.close()

    async def _join(
        self,
        near: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        """Forward in both directions until one of them ends, which ends the other."""
        delay_s = self._randomness.choice((0.0, 0.0, self._randomness.uniform(0, LONGEST_DELAY_S)))
        self.faults["connections"] += 1
        self.faults["delayed"] += delay_s > 0
        await run_until_one_ends(
            self._forward(near, far_writer, delay_s), self._forward(far, near_writer, delay_s)
        )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
    ) -> None:
        left_bytes = int(self._randomness.expovariate(1 / MEAN_LIFE_BYTES))
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.is_calm:
                    delay_s = 0.0
                elif left_bytes < len(chunk):
                    await self._cut(writer, chunk)
                    return
                left_bytes -= len(chunk)
                await asyncio.sleep(delay_s)
                writer.write(chunk)
                await writer.drain()

    async def _cut(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        """End this connection, at once or after a part of `chunk`."""
        if self._randomness.random() < 0.3:
            self.faults["dropped"] += 1
            writer.transport.abort()
            return
        self.faults["cut inside a frame"] += 1
        writer.write(chunk[: self._randomness.randrange(len(chunk))])
        writer.write_eof()  # so that the part arrives before the end of the connection
        await writer.drain()
