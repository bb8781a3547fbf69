"""Rooms mounted in a real `st.App`, served by Streamlit's own server and by other ASGI servers."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pycrdt import Map
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect as connect_in_thread

from e2e.harness import HOST, ROOMS_ENV, STREAMLIT_ENV, Process, free_port
from streamlit_crdt_server import KeyRing, Role, mint, protocol
from tests.server.support.fake_channel import DEADLINE_S, LIMITS, Client, FakeChannel
from tests.support.asgi_commands import SERVERS

pytestmark = pytest.mark.anyio

SCRIPT = "import streamlit as st\n\nst.title('hello')\n"
APP = """import streamlit as st
from streamlit_crdt import crdt_app

app = st.App("page.py", **crdt_app(store="rooms.db"))
"""
SECRET = ROOMS_ENV["STREAMLIT_CRDT_SECRET"]
COMMANDS = {
    "streamlit": ["streamlit", "run", "app.py"],
    "streamlit, chatty": ["streamlit", "run", "app.py", "--logger.level", "debug"],
    **SERVERS,
}
"""Commands that serve the app, by name of the ASGI server. `streamlit run` uses uvicorn as well."""


@contextmanager
def mounted(folder: Path, server: str = "streamlit", **environ: str) -> Iterator[tuple[Process, int]]:
    """Run the app. Yields its process and port."""
    (folder / "page.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    port = free_port()
    arguments = {"uvicorn": [str(port)], "hypercorn": [f"{HOST}:{port}"]}.get(server, [])
    variables = {**STREAMLIT_ENV, **ROOMS_ENV, "STREAMLIT_SERVER_PORT": str(port), **environ}
    variables["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", *COMMANDS[server], *arguments]
    process = Process("app", command, f"http://{HOST}:{port}/_stcore/health", variables, folder)
    process.start()
    try:
        yield process, port
    finally:
        process.stop()


def token_for(*rooms: str) -> str:
    return mint(
        KeyRing.from_secret(SECRET),
        rooms=dict.fromkeys(rooms, Role.EDITOR),
        user="ada", name="Ada", session="s", ttl_s=3600, now=time.time(),
    )  # fmt: skip


def health(port: int) -> set[int]:
    """Return the status codes of the health endpoints of Streamlit and of the room server."""
    statuses = set()
    for path in ("_stcore/health", "crdt/healthz"):
        with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=DEADLINE_S) as answer:
            statuses.add(int(answer.status))
    return statuses


async def open_and_close(address: str, number: int) -> bool:
    """Open a socket and end it before the answer, by an abort or by a closing handshake. Return True if it was open."""
    was_open = False
    with suppress(OSError, ConnectionClosed, EOFError, TimeoutError):
        async with asyncio.timeout(0.001 if number % 5 == 0 else DEADLINE_S):
            async with connect(address) as socket:
                was_open = True
                if number % 2:
                    socket.transport.abort()
    return was_open


async def edit_together(address: str) -> None:
    """Edit a room from two clients, and wait until each has received the edit of the other."""
    expected = {"x": 1, "y": 2}

    async def run_client(key: str, value: int) -> None:
        async with connect(address) as socket:
            replica = Client(FakeChannel())
            await socket.send(protocol.sync_step1(b"\0"))
            await socket.send(protocol.sync_update(replica.set(key, value)))
            while replica.ydoc.get("state", type=Map).to_py() != expected:
                message = protocol.parse(bytes(await socket.recv(decode=False)), LIMITS)
                if isinstance(message, protocol.SyncUpdate):
                    replica.ydoc.apply_update(message.update)

    async with asyncio.timeout(4 * DEADLINE_S):
        await asyncio.gather(*(run_client(key, value) for key, value in expected.items()))


async def storm(folder: Path, count: int) -> None:
    rooms = [f"room{number}" for number in range(50)]
    token = token_for(*rooms)
    with mounted(folder) as (process, port):
        addresses = [f"ws://{HOST}:{port}/crdt/{room}?token={token}" for room in rooms]
        statuses, opened = set(), 0
        started_at = time.monotonic()
        for first in range(0, count, 20):
            numbers = range(first, first + 20)
            opened += sum(
                await asyncio.gather(*(open_and_close(addresses[number % 50], number) for number in numbers))
            )
            statuses |= await asyncio.to_thread(health, port)
        took_s = time.monotonic() - started_at
        await edit_together(addresses[1])
    print(f"requested {count} x, opened and closed {opened} x in {took_s:.1f} s, health {statuses}")
    assert statuses == {200}
    assert opened >= count / 2
    assert process.log.count("You can now view") == 1
    assert "Traceback" not in process.log


async def test_N2_connection_storm_stops_nothing(tmp_path: Path) -> None:
    await storm(tmp_path, 300)


@pytest.mark.soak
async def test_N2_storm_of_2000_connections_stops_nothing(tmp_path: Path) -> None:
    await storm(tmp_path, 2000)


@pytest.mark.parametrize("server", COMMANDS)
def test_token_in_a_url_is_not_logged(server: str, tmp_path: Path) -> None:
    token = token_for("room")
    with mounted(tmp_path, server) as (process, port):
        rooms = f"{HOST}:{port}/crdt"
        with connect_in_thread(f"ws://{rooms}/room?token={token}") as socket:
            socket.recv(timeout=DEADLINE_S)
        for refused in ("other", "a/b", "healthz/x"):
            with pytest.raises(InvalidHandshake):
                connect_in_thread(f"ws://{rooms}/{refused}?token={token}")
        for path in ("room", "", "healthz"):
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{rooms}/{path}?token={token}", timeout=DEADLINE_S).close()
    assert not any(part in process.log for part in token.split("."))
    if not server.startswith("streamlit"):  # Streamlit disables its access log
        assert "/crdt/room" in process.log
