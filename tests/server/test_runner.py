"""Start and stop of the server, in a thread and in a process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import streamlit_crdt_server
from streamlit_crdt_server import (
    CannotListenError,
    CloseCode,
    EmbeddedServer,
    PortTakenError,
    Settings,
    serve,
)
from tests.server.support.fake_channel import DEADLINE_S

STAND_ALONE = """
import asyncio
from streamlit_crdt_server import Settings, serve
asyncio.run(serve(Settings.load(require_token=False, port=0)))
"""


def test_port_0_picks_a_free_port() -> None:
    server = EmbeddedServer(Settings(require_token=False, port=0))
    server.start()
    try:
        assert server.port > 0
        socket.create_connection((server.host, server.port), DEADLINE_S).close()
    finally:
        server.stop()


def test_port_in_use_error_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} .* STREAMLIT_CRDT_PORT"):
            EmbeddedServer(Settings(require_token=False, port=port)).start()


def test_foreign_address_error_names_the_setting() -> None:
    with pytest.raises(CannotListenError, match="STREAMLIT_CRDT_HOST"):
        EmbeddedServer(Settings(require_token=False, host="192.0.2.1", port=0)).start()


def test_start_and_stop_are_idempotent_and_leave_no_thread() -> None:
    before = threading.active_count()
    server = EmbeddedServer(Settings(require_token=False, port=0))
    server.start()
    server.start()
    server.stop()
    server.stop()
    assert threading.active_count() == before


def test_port_is_free_after_stop() -> None:
    first = EmbeddedServer(Settings(require_token=False, port=0))
    first.start()
    first.stop()
    second = EmbeddedServer(Settings(require_token=False, port=first.port))
    second.start()
    second.stop()


@pytest.mark.anyio
async def test_stop_closes_sockets_with_1012_within_a_second() -> None:
    server = EmbeddedServer(Settings(require_token=False, port=0))
    server.start()
    async with connect(f"ws://127.0.0.1:{server.port}/room") as socket:
        await socket.recv()
        started_at = time.monotonic()
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - started_at < 1.0
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == CloseCode.SERVICE_RESTART


@pytest.mark.anyio
async def test_unresponsive_socket_delays_stop_by_seconds_only() -> None:
    server = EmbeddedServer(Settings(require_token=False, port=0, close_timeout_s=0.1))
    server.start()
    with socket.create_connection((server.host, server.port)) as unresponsive:
        unresponsive.sendall(
            b"GET /room HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        unresponsive.recv(1024)
        started_at = time.monotonic()
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - started_at < 4.0


@pytest.mark.anyio
async def test_serve_returns_when_its_trigger_returns(capsys: pytest.CaptureFixture[str]) -> None:
    stop = asyncio.Event()
    serving = asyncio.ensure_future(
        serve(Settings(require_token=False, port=0, freeze_gc=False), shutdown_trigger=stop.wait)
    )
    line = ""
    ends_at = time.monotonic() + DEADLINE_S
    while not line and time.monotonic() < ends_at:
        await asyncio.sleep(0.01)
        line = capsys.readouterr().out
    assert re.fullmatch(r"streamlit-crdt room server: ws://127\.0\.0\.1:\d+ \(.*\)\n", line)
    stop.set()
    await asyncio.wait_for(serving, DEADLINE_S)


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_closes_sockets_with_1012_and_ends_the_process(number: signal.Signals) -> None:
    env = os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_ALONE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = (await asyncio.to_thread(process.stdout.readline)).split()[3]
        async with connect(f"{address}/room") as socket:
            await socket.recv()
            process.send_signal(number)
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == CloseCode.SERVICE_RESTART
        _, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.wait()
