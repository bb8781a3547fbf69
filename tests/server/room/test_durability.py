"""Durability of acknowledged updates on real servers with a real file, after a disconnect, a stop and an exit."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import streamlit_crdt_server
from streamlit_crdt_server import CloseCode, EmbeddedServer, Settings, StoreBusyError, protocol
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from tests.server.support.fake_channel import DEADLINE_S, Client, FakeChannel

pytestmark = pytest.mark.anyio

STAND_ALONE = """
import asyncio, sys
from streamlit_crdt_server import Settings, serve
asyncio.run(serve(Settings.load(port=0, require_token=False, store=sys.argv[1])))
"""


async def values_in(path: Path, room: str) -> dict[str, Any]:
    async with SQLiteStore(path) as store:
        ydoc: Doc[Any] = Doc()
        for update in (await store.load(room)).updates:
            ydoc.apply_update(update)
    return dict(ydoc.get("state", type=Map).to_py() or {})


async def read_echo(socket: Any) -> None:
    """Wait for the ack of an update."""
    async with asyncio.timeout(DEADLINE_S):
        while (await socket.recv(decode=False))[:2] != b"\x00\x02":
            pass


async def test_S2_sigterm_saves_the_last_updates(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    env = os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_ALONE, str(path)], stdout=subprocess.PIPE, env=env, text=True
    )
    try:
        assert process.stdout is not None
        address = (await asyncio.to_thread(process.stdout.readline)).split()[3]
        writer = Client(FakeChannel())
        async with connect(f"{address}/room") as socket:
            for number in range(50):
                await socket.send(protocol.sync_update(writer.set(f"k{number}", number)))
            await read_echo(socket)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                while True:
                    await socket.recv()
        await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert await values_in(path, "room") == {f"k{number}": number for number in range(50)}


def test_owned_store_file_fails_the_start_and_frees_the_port(
    tmp_path: Path,
) -> None:
    settings = Settings(port=0, require_token=False, store=str(tmp_path / "rooms.db"))
    first, second = EmbeddedServer(settings), EmbeddedServer(settings)
    first.start()
    try:
        with pytest.raises(StoreBusyError, match=r"rooms\.db"):
            second.start()
    finally:
        first.stop()
    third = EmbeddedServer(Settings(port=second.port, require_token=False, store=settings.store))
    third.start()
    third.stop()


async def disconnect_early(path: Path, rounds: int) -> tuple[int, int, int]:
    """Send an edit and disconnect after 0 to 200 ms, `rounds` times.

    Returns:
        The numbers of acknowledged edits, of lost acknowledged edits, and of lost edits.
    """
    settings = Settings(port=0, require_token=False, store=str(path), evict_after_s=0.05)
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", random.randrange(2**32)))
    print("seed", seed)
    randomness = random.Random(seed)
    acknowledged: set[int] = set()
    server = EmbeddedServer(settings)
    server.start()
    try:
        for number in range(rounds):
            async with connect(f"ws://127.0.0.1:{server.port}/room{number % 5}") as socket:
                await socket.send(protocol.sync_update(Client(FakeChannel()).set(f"k{number}", number)))
                ends_at = time.monotonic() + randomness.uniform(0, 0.2)
                try:
                    while True:
                        async with asyncio.timeout(ends_at - time.monotonic()):
                            if (await socket.recv(decode=False))[:2] == b"\x00\x02":
                                acknowledged.add(number)
                except TimeoutError:
                    continue
    finally:
        await asyncio.to_thread(server.stop)
    stored: set[str] = set()
    for room in range(5):
        stored |= set(await values_in(path, f"room{room}"))
    lost = {number for number in range(rounds) if f"k{number}" not in stored}
    return len(acknowledged), len(acknowledged & lost), len(lost)


async def check_early_disconnects(path: Path, rounds: int) -> None:
    saved, saved_and_lost, lost = await disconnect_early(path, rounds)
    print(
        f"last client sends and disconnects {rounds} times: {saved} acks, {saved_and_lost} of them lost, {lost} lost"
    )
    assert saved > 0  # how many acks arrive in time depends on the load of the machine
    assert (saved_and_lost, lost) == (0, 0)


async def test_S2_last_update_before_a_disconnect_is_saved(tmp_path: Path) -> None:
    await check_early_disconnects(tmp_path / "rooms.db", 40)


@pytest.mark.soak
async def test_S2_last_update_before_a_disconnect_is_saved_200_times(tmp_path: Path) -> None:
    await check_early_disconnects(tmp_path / "rooms.db", 200)


AT_EXIT = """
import asyncio, sys
from pycrdt import Doc, Map
from streamlit_crdt_server import EmbeddedServer, Hub, Settings, SQLiteStore

class SlowStore(SQLiteStore):
    async def append(self, room, update):
        await asyncio.sleep(float(sys.argv[2]))
        await super().append(room, update)

settings = Settings(port=0, require_token=False, store=sys.argv[1], flush_timeout_s=float(sys.argv[3]))
server = EmbeddedServer(settings)
server.hub = Hub(settings, store=SlowStore(sys.argv[1]))
server.start()
print(server.port, flush=True)
sys.stdin.readline()
peer = server.hub.open_local("room")
ydoc = Doc()
ydoc.get("state", type=Map)["key"] = "value"
peer.push(ydoc.get_update())
if sys.argv[4] == "raise":
    raise RuntimeError("the app fails")
sys.exit(3)
"""


@asynccontextmanager
async def exiting_app(path: Path, slow_s: float, flush_s: float, how: str = "exit") -> AsyncIterator[Any]:
    """Yield the process of an app with an embedded server. After a line on stdin it edits and exits at once."""
    env = os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}
    command = [sys.executable, "-c", AT_EXIT, str(path), str(slow_s), str(flush_s), how]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("how", "code"), [("exit", 3), ("raise", 1)])
async def test_S2_exit_without_stop_saves_and_closes_sockets_with_1012(
    tmp_path: Path, how: str, code: int
) -> None:
    path = tmp_path / "rooms.db"
    async with exiting_app(path, 0.5, 10, how) as process:
        port = int(await asyncio.to_thread(process.stdout.readline))
        async with connect(f"ws://127.0.0.1:{port}/other") as socket:
            await socket.recv()
            _, errors = await asyncio.to_thread(process.communicate, "go\n", timeout=DEADLINE_S)
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await socket.recv()
        assert process.returncode == code
        assert errors.count("Traceback") == (how == "raise"), errors
    assert await values_in(path, "room") == {"key": "value"}
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == CloseCode.SERVICE_RESTART


async def test_S2_slow_store_delays_exit_by_flush_timeout(
    tmp_path: Path,
) -> None:
    async with exiting_app(tmp_path / "rooms.db", 600, 0.5) as process:
        await asyncio.to_thread(process.stdout.readline)
        started_at = time.monotonic()
        _, errors = await asyncio.to_thread(process.communicate, "go\n", timeout=DEADLINE_S)
        assert time.monotonic() - started_at < 0.5 + 4.0
        assert process.returncode == 3
        assert "room 'room' stops with unsaved edits, which its store did not take" in errors
