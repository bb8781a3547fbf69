"""Room server that is hostile for a time: scripted frames on raw sockets, later an honest server at its address."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import protocol
from streamlit_crdt_server.protocol import SaveStatus, StoreLevel, saved_answer
from tests.support.tasks import run_until_one_ends

HOST = "127.0.0.1"
EPOCH = "0123456789abcdef" * 2
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING = 0x82, 0x88, 0x89
_CONNECTION_ERRORS = (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


def ws_frame(payload: bytes, first_byte: int = _BINARY) -> bytes:
    """Encode an unmasked frame of a server."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first_byte, size)
    elif size < 2**16:
        head = struct.pack("!BBH", first_byte, 126, size)
    else:
        head = struct.pack("!BBQ", first_byte, 127, size)
    return head + payload


@dataclass
class Victim:
    """One connection of a client. `send` waits until the client reads."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent_bytes: int = 0

    async def send_raw(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()
        self.sent_bytes += len(content)

    async def send(self, message: bytes) -> None:
        await self.send_raw(ws_frame(message))

    async def ping(self, count: int) -> None:
        await self.send_raw(ws_frame(bytes(125), _PING) * count)

    async def close(self, code: int) -> None:
        await self.send_raw(ws_frame(struct.pack("!H", code), _CLOSE))

    async def sync(self, epoch: str | None = EPOCH) -> None:
        """Bring an empty room to the client."""
        await self.send(protocol.sync_step1(Replica().state_vector()))
        await self.send(protocol.sync_step2(Replica().diff()))
        if epoch is not None:
            await self.send(saved_answer(0, StoreLevel.DISK, SaveStatus.SAVED, epoch))

    async def accept(self) -> None:
        """Answer the request for an upgrade."""
        request = await self.reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b":", 1)[1].strip()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        await self.send_raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    async def read_all(self) -> None:
        """Drop everything that the client sends, until it closes."""
        while await self.reader.read(65536):
            pass


Attack = Callable[[Victim], Awaitable[None]]


@dataclass
class HostileServer:
    """Server on one port whose connections suffer `attack`, or reach the honest server if that is None.

    Attributes:
        victims: the attacked connections.
        ended: the attacked connections that have ended.
    """

    attack: Attack | None = None
    honest_port: int | None = None
    port: int = 0
    victims: list[Victim] = field(default_factory=list)
    ended: list[Victim] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> str:
        return f"ws://{HOST}:{self.port}"

    def set_attack(self, attack: Attack | None) -> None:
        """Replace the behavior, and drop the open connections."""
        assert self._loop is not None

        async def replace() -> None:
            self.attack = attack
            for writer in list(self._writers):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(replace(), self._loop).result(30)

    def wait_attacked(self, count: int = 1, timeout_s: float = 60) -> None:
        """Wait until `count` attacked connections have ended."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.ended) >= count, timeout_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(*_CONNECTION_ERRORS, asyncio.CancelledError):
                if self.attack is None:
                    await self._forward(reader, writer)
                else:
                    await self._attack(self.attack, Victim(reader, writer))
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _attack(self, attack: Attack, victim: Victim) -> None:
        self.victims.append(victim)
        try:
            await attack(victim)
        finally:
            with self.changed:
                self.ended.append(victim)
                self.changed.notify_all()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(HOST, self.honest_port)
        self._writers.add(to_writer)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while content := await source.read(65536):
                target.write(content)
                await target.drain()

        try:
            await run_until_one_ends(copy(reader, to_writer), copy(to_reader, writer))
        finally:
            self._writers.discard(to_writer)
            to_writer.transport.abort()


@contextmanager
def hostile_server(attack: Attack | None = None, honest_port: int | None = None) -> Iterator[HostileServer]:
    """Serve in a thread."""
    server = HostileServer(attack, honest_port)
    started, stop = threading.Event(), list[Callable[[], object]]()

    async def run() -> None:
        server._loop = asyncio.get_running_loop()
        over = asyncio.Event()
        stop.append(lambda: server._loop.call_soon_threadsafe(over.set) if server._loop else None)
        listening = await asyncio.start_server(server._serve, HOST, 0)
        server.port = listening.sockets[0].getsockname()[1]
        started.set()
        await over.wait()
        listening.close()
        for writer in list(server._writers):
            writer.transport.abort()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield server
    finally:
        stop[0]()
        thread.join(30)
