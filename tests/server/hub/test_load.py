"""Load on a real server with a real file. Each test prints its figure; `make soak` runs the long ones."""

from __future__ import annotations

import asyncio
import socket as network
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from pycrdt import Doc, Map
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from streamlit_crdt_server import EmbeddedServer, Hub, Settings, create_app, protocol
from tests.server.support.fake_channel import DEADLINE_S, LIMITS, Client, FakeChannel
from tests.server.support.unread_socket import unread_socket

pytestmark = pytest.mark.anyio

MEGABYTE = 1_000_000


def settings(path: Path, **options: Any) -> Settings:
    return Settings(port=0, require_token=False, store=str(path / "rooms.db"), freeze_gc=False, **options)


@asynccontextmanager
async def stand_alone(path: Path) -> AsyncIterator[tuple[str, str]]:
    """Yield the base address of rooms and the health URL of a stand-alone server."""
    server = EmbeddedServer(settings(path))
    await asyncio.to_thread(server.start)
    yield f"ws://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}/healthz"
    await asyncio.to_thread(server.stop)


@asynccontextmanager
async def mounted(path: Path) -> AsyncIterator[tuple[str, str]]:
    """Yield the same for a server mounted in another application. The health URL is that application's."""
    chosen = settings(path)
    stop = asyncio.Event()
    listener = network.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 1.0
    async with Hub(chosen) as hub:
        routes = [
            Mount("/crdt", create_app(chosen, hub=hub)),
            Route("/", lambda request: PlainTextResponse("host")),
        ]
        serving = asyncio.ensure_future(
            hypercorn_serve(Starlette(routes=routes), config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]
        )
        yield f"ws://127.0.0.1:{port}/crdt", f"http://127.0.0.1:{port}/"
        await hub.drain()
        stop.set()
        await serving


def health(url: str) -> int:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return int(answer.status)


async def open_and_close(rooms: str, number: int) -> None:
    """Open a socket and close it before the response, abort it after the response, or close it normally."""
    with suppress(OSError, ConnectionClosed, EOFError, TimeoutError):
        async with asyncio.timeout(0.001 if number % 5 == 0 else DEADLINE_S):
            async with connect(f"{rooms}/room{number % 50}") as socket:
                if number % 2:
                    socket.transport.abort()


async def open_and_close_many(server_kind: Any, path: Path, count: int) -> None:
    async with server_kind(path) as (rooms, health_url):
        statuses = []
        started_at = time.monotonic()
        for first in range(0, count, 20):
            await asyncio.gather(*(open_and_close(rooms, first + index) for index in range(20)))
            statuses.append(await asyncio.to_thread(health, health_url))
        took_s = time.monotonic() - started_at
        await share_edits(rooms, "room1", 3)
    print(f"{server_kind.__name__}: opened and closed {count} x in {took_s:.1f} s, health {set(statuses)}")
    assert set(statuses) == {200}


async def share_edits(rooms: str, room: str, clients_count: int) -> None:
    """Open a room with several clients at once, each with an edit, and wait until all have all edits."""
    expected = {f"k{number}": number for number in range(clients_count)}

    async def edit_and_read(number: int) -> None:
        async with connect(f"{rooms}/{room}") as socket:
            replica = Client(FakeChannel())
            await socket.send(protocol.sync_step1(b"\0"))
            await socket.send(protocol.sync_update(replica.set(f"k{number}", number)))
            values = replica.ydoc.get("state", type=Map)
            while values.to_py() != expected:
                message = protocol.parse(bytes(await socket.recv(decode=False)), LIMITS)
                if isinstance(message, protocol.SyncUpdate):
                    replica.ydoc.apply_update(message.update)

    async with asyncio.timeout(4 * DEADLINE_S):
        await asyncio.gather(*map(edit_and_read, range(clients_count)))


SERVERS = pytest.mark.parametrize(
    "server_kind", [stand_alone, mounted], ids=lambda server_kind: server_kind.__name__
)


@SERVERS
async def test_N2_200_immediate_disconnects_do_not_stop_the_server(server_kind: Any, tmp_path: Path) -> None:
    await open_and_close_many(server_kind, tmp_path, 200)


@pytest.mark.soak
@SERVERS
async def test_N2_2000_immediate_disconnects_do_not_stop_the_server(server_kind: Any, tmp_path: Path) -> None:
    await open_and_close_many(server_kind, tmp_path, 2000)


async def open_together(path: Path, rooms_count: int) -> None:
    async with stand_alone(path) as (rooms, _):
        slowest_s = 0.0
        for number in range(rooms_count):
            started_at = time.monotonic()
            await share_edits(rooms, f"new{number}", 3)
            slowest_s = max(slowest_s, time.monotonic() - started_at)
    print(f"three clients opened each of {rooms_count} new rooms together: slowest {1000 * slowest_s:.0f} ms")


async def test_three_concurrent_opens_of_50_new_rooms_share_all_edits(tmp_path: Path) -> None:
    await open_together(tmp_path, 50)


@pytest.mark.soak
async def test_three_concurrent_opens_of_500_new_rooms_share_all_edits(
    tmp_path: Path,
) -> None:
    await open_together(tmp_path, 500)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("VmRSS is missing")


async def round_trips(server: EmbeddedServer, key: str, count: int, size_bytes: int) -> list[float]:
    """Send updates that overwrite each other, and return the seconds until each reached a second client.

    The writer does not synchronize first, so no other call may have written `key`: the winner would be random.
    """
    address = f"ws://127.0.0.1:{server.port}/room"
    options: dict[str, Any] = {"max_size": None, "compression": None}
    took_s = []
    async with connect(address, **options) as ada, connect(address, **options) as bob:
        writer, reader = Client(FakeChannel()), Doc[Any]()
        values = reader.get("state", type=Map)
        await bob.send(protocol.sync_step1(b"\0"))
        for number in range(count):
            text = f"{number}:".ljust(size_bytes, "x")
            started_at = time.monotonic()
            await ada.send(protocol.sync_update(writer.set(key, text)))
            async with asyncio.timeout(4 * DEADLINE_S):
                while values.get(key) != text:
                    message = protocol.parse(bytes(await bob.recv(decode=False)), LIMITS)
                    if isinstance(message, protocol.SyncUpdate):
                        reader.apply_update(message.update)
            took_s.append(time.monotonic() - started_at)
            while (await ada.recv(decode=False))[:2] != b"\x00\x02":
                pass
    return sorted(took_s)


UNREAD_SOCKETS = 10
ROUNDS = 5
MAX_SLOWDOWN = 1.5


@asynccontextmanager
async def unread_sockets(port: int) -> AsyncIterator[None]:
    """Connect sockets that never read."""
    unread = [await asyncio.to_thread(unread_socket, port) for _ in range(UNREAD_SOCKETS)]
    try:
        yield
    finally:
        for one in unread:
            one.close()


def p99_ms(took_s: list[float]) -> float:
    return 1000 * took_s[int(0.99 * len(took_s))]


async def compare_with_unread_sockets(path: Path, megabytes: int) -> None:
    """Alternate between a room with ten peers that never read and one without them, and compare both.

    The rounds alternate and their median is compared, because the speed of the machine varies.
    """
    count = 10 * megabytes // ROUNDS
    limits = {"max_backlog_bytes_per_peer": 2 * 2**20, "max_bytes_per_s_per_connection": 10**9}
    server = EmbeddedServer(settings(path, close_timeout_s=0.2, **limits))
    await asyncio.to_thread(server.start)
    alone_ms, crowded_ms, grown = [], [], []
    try:
        await round_trips(server, "warm", 50, 100_000)
        for number in range(ROUNDS):
            alone_ms.append(p99_ms(await round_trips(server, f"alone{number}", count, 100_000)))
            async with unread_sockets(server.port):
                before = resident_bytes()
                crowded_ms.append(p99_ms(await round_trips(server, f"crowded{number}", count, 100_000)))
                grown.append((resident_bytes() - before) / MEGABYTE)
        too_slow = server.hub.metrics.registry.get_sample_value(
            "streamlit_crdt_closes_total", {"code": "4300"}
        )
        assert too_slow == UNREAD_SOCKETS * ROUNDS  # every peer was connected and closed
    finally:
        await asyncio.to_thread(server.stop)
    alone, crowded = median(alone_ms), median(crowded_ms)
    print(
        f"{UNREAD_SOCKETS} peers that never read, {megabytes} MB: memory {max(grown):+.0f} MB, p99 of the others "
        f"{crowded:.1f} ms ({crowded / alone:.2f} x of {alone:.1f} ms)"
    )
    assert max(grown) < 100
    assert crowded < MAX_SLOWDOWN * alone


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_N1_memory_of_peers_that_never_read_is_bounded(tmp_path: Path) -> None:
    await compare_with_unread_sockets(tmp_path, 35)


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_N1_memory_of_peers_that_never_read_is_bounded_at_200_megabytes(tmp_path: Path) -> None:
    await compare_with_unread_sockets(tmp_path, 200)
