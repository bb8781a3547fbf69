"""`connect()` against a server that answers with anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from streamlit_crdt import EditsNotSavedError, ServerUnavailableError, connect
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import MalformedFrameError, protocol
from streamlit_crdt_server.protocol import SaveStatus, StoreLevel, fragments, saved_answer

EPOCH = "0123456789abcdef" * 2
HOST = "127.0.0.1"

Handler = Callable[[ServerConnection], Awaitable[None]]


@contextmanager
def serving(handler: Handler, **options: Any) -> Iterator[str]:
    """Serve WebSockets in a thread. Yields the address."""
    started, addresses, stops = threading.Event(), list[str](), list[Callable[[], object]]()

    async def run() -> None:
        stop = asyncio.Event()
        async with serve(handler, HOST, 0, max_size=None, **options) as server:
            addresses.append(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}")
            loop = asyncio.get_running_loop()
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(30)
    try:
        yield addresses[0]
    finally:
        stops[0]()
        thread.join(30)


async def _sync(socket: ServerConnection) -> None:
    await socket.send(protocol.sync_step1(Replica().state_vector()))
    await socket.send(protocol.sync_step2(Replica().diff()))


def test_A2_token_is_not_sent_to_the_target_of_a_redirect() -> None:
    requests = list[Request]()

    def record(_socket: ServerConnection, request: Request) -> None:
        requests.append(request)

    async def ignore(socket: ServerConnection) -> None:
        await socket.wait_closed()

    with serving(ignore, process_request=record) as other:

        def redirect(_socket: ServerConnection, _request: Request) -> Response:
            return Response(HTTPStatus.FOUND, "Found", Headers(Location=f"{other}/room"))

        with (
            serving(ignore, process_request=redirect) as address,
            pytest.raises(ServerUnavailableError, match="HTTP 302"),
            connect("room", server=address, token="a.b.c", timeout_s=1),
        ):
            pass
    assert requests == []


@pytest.mark.parametrize("version", [2**53 - 1, 999, 0])
def test_S5_confirmation_of_what_was_not_sent_does_not_count_as_saved(version: int) -> None:
    async def confirm(socket: ServerConnection) -> None:
        await _sync(socket)
        async for _ in socket:
            await socket.send(saved_answer(version, StoreLevel.DISK, SaveStatus.SAVED, EPOCH))

    with (
        serving(confirm) as address,
        pytest.raises(EditsNotSavedError, match="1 edit is"),
        connect("room", server=address, token="a.b.c", flush_timeout_s=0.5) as room,
    ):
        room.state["a"] = 1
        assert not room.flush(0.5) and room.unsaved_count == 1


def test_N2_malformed_frames_close_the_connection_and_are_not_applied() -> None:
    attempts = list[int]()

    async def garbage(socket: ServerConnection) -> None:
        attempts.append(1)
        await _sync(socket)
        await socket.send(saved_answer(0, StoreLevel.DISK, SaveStatus.SAVED, EPOCH))
        await socket.send(protocol.sync_update(b"\xff" * 1000))
        await socket.wait_closed()

    with (
        serving(garbage) as address,
        connect("room", server=address, token="a.b.c", timeout_s=30) as room,
    ):
        assert not room.wait(1.5) or dict(room.state) == {}
        assert dict(room.state) == {}
    assert 1 <= len(attempts) < 20  # the delay between attempts grows


def test_N2_server_that_returns_queries_keeps_its_connection() -> None:
    attempts = list[int]()

    async def return_queries(socket: ServerConnection) -> None:
        attempts.append(1)
        await _sync(socket)
        async for frame in socket:
            if frame[0] == protocol.MessageType.SAVED:
                await socket.send(frame)
                await socket.send(protocol.sync_update(Replica().diff()))

    with (
        serving(return_queries) as address,
        pytest.raises(EditsNotSavedError, match="1 edit is"),
        connect("room", server=address, token="a.b.c", flush_timeout_s=0.5) as room,
    ):
        room.state["a"] = 1
        assert not room.flush(0.5)
    assert attempts == [1]


def test_N3_endless_fragments_exceed_the_limit_of_a_frame() -> None:
    client = SyncClient("room", lambda: None, max_received_bytes=100_000)
    client.open()
    more, *_ = fragments(protocol.sync_update(bytes(5000)), 2000)
    with pytest.raises(MalformedFrameError, match="100000"):
        for _ in range(1000):
            client.receive(more)
