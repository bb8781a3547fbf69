"""One connection speaks HTTP/1.1 and uncompressed WebSockets only. Raw sockets, a real server."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress

import pytest

from streamlit_crdt_server import EmbeddedServer
from streamlit_crdt_server.http import connection
from tests.server.support.fake_channel import DEADLINE_S, until

pytestmark = pytest.mark.anyio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
UPGRADE = (
    b"GET /room HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)


def h2c(path: bytes, *headers: bytes) -> bytes:
    lines = [b"GET %s HTTP/1.1" % path, b"Host: 127.0.0.1", b"Upgrade: h2c", *headers, b"", b""]
    return b"\r\n".join(lines)


async def answer(server: EmbeddedServer, sent: bytes) -> bytes:
    """Return everything that the server answers before it closes or is silent."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(sent)
    received = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1.0):
            while chunk := await reader.read(65_536):
                received += chunk
    writer.close()
    return received


CONNECTION = b"Connection: Upgrade, HTTP2-Settings, close"


@pytest.mark.parametrize(
    "sent",
    [
        h2c(b"/healthz", CONNECTION, b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        h2c(b"/healthz", b"Connection: close"),
        h2c(b"/healthz", b"Connection: upgrade", b"Connection: close"),
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + h2c(b"/healthz", CONNECTION),
    ],
)
async def test_upgrade_to_http_2_is_answered_in_http_1(server: EmbeddedServer, sent: bytes) -> None:
    received = await answer(server, sent)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b" 101 " not in received


@pytest.mark.parametrize(
    "sent",
    [
        PREFACE,
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + PREFACE,
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    ],
)
async def test_http_2_by_prior_knowledge_is_answered_with_505(server: EmbeddedServer, sent: bytes) -> None:
    received = await answer(server, sent)
    assert b"HTTP/1.1 505 " in received
    assert received.rpartition(b"\r\n\r\n")[2] == b""


@pytest.mark.parametrize(
    "offered",
    [
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
        b"sec-websocket-extensions: permessage-deflate; client_max_window_bits, x\r\n",
        b"Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
    ],
)
async def test_compression_is_not_accepted(server: EmbeddedServer, offered: bytes) -> None:
    head = (await answer(server, UPGRADE % offered)).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in head.lower()


async def test_compressed_frame_closes_its_connection(server: EmbeddedServer) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (deflate.compress(bytes(1_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(UPGRADE % b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes([0b1100_0010, 0x80 | 126]) + len(packed).to_bytes(2, "big") + bytes(4) + packed)
    async with asyncio.timeout(DEADLINE_S):
        await reader.read()  # returns after the close
    writer.close()


async def test_header_that_is_not_ascii_is_answered_with_400(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    received = await answer(server, UPGRADE % b"Sec-WebSocket-Protocol: \xe9\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in caplog.text


async def test_N1_closed_socket_that_does_not_read_frees_its_connection(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_S", 0.05)
    loop = server.hub.loop
    assert loop is not None
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(UPGRADE % b"")
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: "room" in server.hub.rooms and server.hub.rooms["room"].clients)
    writer.transport.pause_reading()
    (channel,) = server.hub.rooms["room"].clients
    asyncio.run_coroutine_threadsafe(channel.send(bytes(20_000_000)), loop)
    await asyncio.sleep(0.05)
    assert connection_tasks(loop)
    asyncio.run_coroutine_threadsafe(server.hub.delete_room("room"), loop)
    await until(lambda: not connection_tasks(loop))
    writer.close()


def connection_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    tasks = (repr(task.get_coro()) for task in asyncio.all_tasks(loop))
    return [task for task in tasks if "Acceptor._serve" in task]
