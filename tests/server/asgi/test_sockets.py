"""Real sockets of the `websockets` library on a real hypercorn."""

from __future__ import annotations

import asyncio
import os
import random
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote

import pytest
from pycrdt import Doc, Map
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from streamlit_crdt_server import CloseCode, EmbeddedServer, Settings, protocol
from tests.server.support.fake_channel import (
    DEADLINE_S,
    LIMITS,
    POISON,
    Client,
    FakeChannel,
    newest_clock,
    presence_frame,
)
from tests.server.support.unread_socket import unread_socket

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def joined(
    server: EmbeddedServer, room: str = "room", **options: Any
) -> AsyncIterator[ClientConnection]:
    async with connect(
        f"ws://127.0.0.1:{server.port}/{room}", max_size=None, max_queue=None, **options
    ) as socket:
        await socket.send(protocol.sync_step1(b"\0"))
        yield socket


async def read_until(socket: ClientConnection, ydoc: Doc[Any], expected: dict[str, Any]) -> None:
    """Apply received updates until the room's values are `expected`."""
    async with asyncio.timeout(DEADLINE_S):
        while ydoc.get("state", type=Map).to_py() != expected:
            message = protocol.parse(bytes(await socket.recv(decode=False)), LIMITS)
            if isinstance(message, protocol.SyncUpdate):
                ydoc.apply_update(message.update)


async def closed_with(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(DEADLINE_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else None


def health(server: EmbeddedServer, path: str = "/healthz") -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=DEADLINE_S) as answer:
        return int(answer.status)


async def test_edit_reaches_another_socket(server: EmbeddedServer) -> None:
    async with joined(server) as ada, joined(server) as bob:
        await ada.send(protocol.sync_update(Client(FakeChannel()).set("x", 1)))
        await read_until(bob, Doc(), {"x": 1})


async def test_edits_pass_between_a_socket_and_a_thread(server: EmbeddedServer) -> None:
    peer = await asyncio.to_thread(server.hub.open_local, "room")
    notified = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with joined(server) as ada:
        await asyncio.wrap_future(peer.push(Client(FakeChannel()).set("x", 1)))
        replica: Doc[Any] = Doc()
        await read_until(ada, replica, {"x": 1})
        peer.on_update = lambda: loop.call_soon_threadsafe(notified.set)
        await ada.send(protocol.sync_update(Client(FakeChannel()).set("y", 2)))
        await asyncio.wait_for(notified.wait(), DEADLINE_S)
        replica.apply_update(peer.drain() or b"")
        assert replica.get("state", type=Map).to_py() == {"x": 1, "y": 2}


async def test_concurrent_sockets_in_a_new_room_share_all_edits(
    server: EmbeddedServer,
) -> None:
    expected = {"k0": 0, "k1": 1, "k2": 2}

    async def edit_and_read(room: str, number: int) -> None:
        async with joined(server, room) as socket:
            replica = Client(FakeChannel())
            await socket.send(protocol.sync_update(replica.set(f"k{number}", number)))
            await read_until(socket, replica.ydoc, expected)

    for number in range(40):
        await asyncio.gather(*(edit_and_read(f"room{number}", index) for index in range(3)))


async def test_immediate_disconnects_do_not_stop_the_server(server: EmbeddedServer) -> None:
    for number in range(200):
        async with connect(f"ws://127.0.0.1:{server.port}/room{number % 9}") as socket:
            if number % 2:
                socket.transport.abort()
    assert await asyncio.to_thread(health, server) == 200
    async with joined(server, "room1") as ada, joined(server, "room1") as bob:
        await ada.send(protocol.sync_update(Client(FakeChannel()).set("x", 1)))
        await read_until(bob, Doc(), {"x": 1})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", CloseCode.MALFORMED),
        ("text", CloseCode.MALFORMED),
        (protocol.sync_update(POISON), CloseCode.MALFORMED),
        (b"\x00\x02" + b"\x00" * 70_000, CloseCode.TOO_LARGE),
    ],
)
async def test_N2_invalid_frame_closes_its_own_socket_only(frame: bytes | str, code: CloseCode) -> None:
    server = EmbeddedServer(Settings(require_token=False, port=0, max_frame_bytes=65_536))
    server.start()
    try:
        async with joined(server) as ada, joined(server) as mallory:
            await ada.send(protocol.sync_update(Client(FakeChannel()).set("x", 1)))
            await mallory.send(frame)
            assert await closed_with(mallory) == code
            await ada.send(protocol.sync_update(Client(FakeChannel()).set("y", 2)))
            async with joined(server) as late:
                await read_until(late, Doc(), {"x": 1, "y": 2})
    finally:
        server.stop()


async def test_N2_300_sockets_with_damaged_frames_affect_no_other(server: EmbeddedServer) -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", "20261122"))
    print(f"seed {seed}")
    randomness = random.Random(seed)
    corpus = [
        protocol.sync_update(Client(FakeChannel()).set("x", [1, {"a": "b"}])),
        protocol.sync_step1(b"\x01\x05\x09"),
        presence_frame(5, 3),
        protocol.query_awareness(),
    ]
    async with joined(server) as ada:
        for _ in range(300):
            async with connect(f"ws://127.0.0.1:{server.port}/room") as mallory:
                with suppress(ConnectionClosed):
                    for _ in range(randomness.randint(1, 5)):
                        await mallory.send(_damaged(randomness.choice(corpus), randomness))
        marker = Client(FakeChannel())
        await ada.send(protocol.sync_update(marker.set("marker", 1)))
        async with asyncio.timeout(DEADLINE_S):
            async with joined(server) as late:
                replica: Doc[Any] = Doc()
                while replica.get("state", type=Map).get("marker") != 1:
                    message = protocol.parse(bytes(await late.recv(decode=False)), LIMITS)
                    if isinstance(message, protocol.SyncUpdate):
                        replica.apply_update(message.update)


def _damaged(frame: bytes, randomness: random.Random) -> bytes:
    damaged = bytearray(frame)
    damaged[randomness.randrange(len(damaged))] = randomness.randrange(256)
    return bytes(damaged)


async def test_N1_socket_that_stops_reading_is_closed_and_others_continue() -> None:
    server = EmbeddedServer(
        Settings(require_token=False, port=0, max_backlog_bytes_per_peer=1_000_000, close_timeout_s=0.2)
    )
    server.start()
    try:
        async with joined(server) as ada, joined(server) as bob:
            unread = unread_socket(server.port)
            room = server.hub.rooms["room"]
            await _until(lambda: len(room.clients) == 3)
            writer, echo, reader = Client(FakeChannel()), Client(FakeChannel()), Client(FakeChannel())
            written = 0
            while len(room.clients) == 3:
                written += 1
                assert written < 1_000
                await ada.send(protocol.sync_update(writer.set("k", f"{written}" + "x" * 100_000)))
                await read_until(bob, reader.ydoc, writer.state.to_py() or {})
                await read_until(ada, echo.ydoc, writer.state.to_py() or {})
            unread.close()
    finally:
        server.stop()


async def _until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_A3_presence_of_an_aborted_socket_is_removed(server: EmbeddedServer) -> None:
    async with joined(server) as ada:
        async with joined(server) as bob:
            await bob.send(presence_frame(7, 1))
            clock = None
            async with asyncio.timeout(DEADLINE_S):
                while clock is None:
                    clock = newest_clock([bytes(await ada.recv(decode=False))], 7)
            bob.transport.abort()
        async with asyncio.timeout(1.0):
            while await ada.recv() != presence_frame(7, clock + 1, "null"):
                pass


@pytest.mark.parametrize(
    "path", ["json:notebook:1", "@scope/x", "@scope%2Fx", "a b", "%C3%A9", "100%", "a#b?", "~", "x" * 256]
)
async def test_room_of_any_name_is_served(server: EmbeddedServer, path: str) -> None:
    name = unquote(path)
    sent = path if "%" in path and path != "100%" else quote(path, safe="/:@")
    async with joined(server, sent) as ada, joined(server, quote(name, safe="")) as bob:
        await ada.send(protocol.sync_update(Client(FakeChannel()).set("x", 1)))
        await read_until(bob, Doc(), {"x": 1})
    assert [entry.name for entry in await asyncio.to_thread(server.hub.list_rooms)] == [name]


@pytest.mark.parametrize("path", ["..", "%2e%2e", "a/../b", "", "a%00", "%FF", "a" * 257])
async def test_invalid_room_name_is_http_403(server: EmbeddedServer, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{server.port}/{path.replace(' ', '%20')}"):
            pass
    assert caught.value.response.status_code == 403


async def test_foreign_origin_is_http_403(server: EmbeddedServer) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with joined(server, origin=Origin("https://evil.example")):
            pass
    assert caught.value.response.status_code == 403
    async with joined(server, origin=Origin("http://localhost:8501")):
        pass


async def test_socket_with_a_subprotocol_is_accepted(server: EmbeddedServer) -> None:
    async with joined(server, subprotocols=[Subprotocol("streamlit-crdt"), Subprotocol("token.abc")]) as ada:
        assert ada.subprotocol == "streamlit-crdt"


async def test_healthz_and_readyz_answer_200(server: EmbeddedServer) -> None:
    assert await asyncio.to_thread(health, server) == 200
    assert await asyncio.to_thread(health, server, "/readyz") == 200
