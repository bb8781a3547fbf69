"""Pending connections are bounded, idle ones are closed, and a failing accept is logged once a second."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamlit_crdt_server import EmbeddedServer, Metrics, Settings, protocol
from streamlit_crdt_server.http import acceptor
from streamlit_crdt_server.http.acceptor import Acceptor, PendingConnections
from streamlit_crdt_server.http.listener import address_of, listen
from tests.server.support.fake_channel import DEADLINE_S

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class FakeConnection:
    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def add(pending: PendingConnections, address: str) -> FakeConnection:
    added: Any = FakeConnection()
    pending.add(added, address)
    return added  # type: ignore[no-any-return]


def test_new_connection_closes_the_oldest() -> None:
    pending = PendingConnections()
    added = [add(pending, address) for address in "abcd"]
    assert pending.close_oldest("e")
    assert [each.is_aborted for each in added] == [True, False, False, False]
    assert len(pending) == 3


def test_address_with_more_than_half_of_all_closes_its_own() -> None:
    pending = PendingConnections()
    other = add(pending, "other")
    many = [add(pending, "flood") for _ in range(5)]
    assert pending.close_oldest("flood")
    assert (other.is_aborted, many[0].is_aborted, many[1].is_aborted) == (False, True, False)
    assert pending.close_oldest("other")
    assert other.is_aborted


def test_without_pending_connections_none_is_closed() -> None:
    pending = PendingConnections()
    added: Any = add(pending, "a")
    for _ in range(2):
        pending.discard(added)
    assert not pending.close_oldest("a")
    assert not added.is_aborted


@asynccontextmanager
async def idle_connections(server: EmbeddedServer, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    opened = [await asyncio.open_connection(server.host, server.port) for _ in range(count)]
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(Settings(require_token=False, port=0, **settings))
    server.start()
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def test_idle_connections_keep_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    async with running(max_connections=40) as server, idle_connections(server, 200):
        url = f"ws://127.0.0.1:{server.port}/room"
        async with asyncio.timeout(DEADLINE_S), connect(url) as ada, idle_connections(server, 100):
            await ada.send(protocol.sync_step1(b"\0"))
            while (await ada.recv())[:2] != b"\0\1":
                pass
        assert b"too_many_pending" in server.hub.metrics.encode()
    assert 1 <= sum("too many connections" in line for line in caplog.messages) <= 10


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_connection_without_a_complete_request_is_closed(sent: bytes) -> None:
    async with running(handshake_timeout_s=0.3) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(sent)
        started_at = time.monotonic()
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                while not reader.at_eof():
                    if sent:  # a byte now and then does not extend the time
                        writer.write(b"a")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 0.05)
        assert time.monotonic() - started_at >= 0.25
        writer.close()


async def test_connection_with_a_socket_is_not_closed_by_the_deadline() -> None:
    async with (
        running(handshake_timeout_s=0.1) as server,
        connect(f"ws://127.0.0.1:{server.port}/room") as ada,
    ):
        await asyncio.sleep(0.3)
        await ada.send(protocol.sync_step1(b"\0"))
        async with asyncio.timeout(DEADLINE_S):
            while (await ada.recv())[:2] != b"\0\1":
                pass


async def test_failing_accept_is_logged_once_and_recovers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "ACCEPT_RETRY_S", 0.001)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [errno.EMFILE] * 50 + [errno.ECONNABORTED]

    async def failing_accept(listener: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "too many open files")
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", failing_accept)
    with listen("127.0.0.1", 0) as listener:
        served = Acceptor(
            answer_ok,
            listener,
            max_connections=4,
            handshake_timeout_s=5,
            max_message_bytes=100,
            metrics=Metrics(),
        )
        serving = asyncio.ensure_future(served.serve())
        reader, writer = await asyncio.open_connection(*address_of(listener))
        writer.write(GET)
        async with asyncio.timeout(DEADLINE_S):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        serving.cancel()
        await asyncio.wait((serving,))
        await served.stop(1.0)
    assert not failures
    assert 1 <= len([line for line in caplog.messages if "too many open files" in line]) <= 4


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
