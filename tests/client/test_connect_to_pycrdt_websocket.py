"""`connect()` to an unmodified pycrdt-websocket server, which has no tokens, epochs or save status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from e2e.harness import HOST, free_port
from streamlit_crdt import connect

STOCK = """
import asyncio, sys
from hypercorn import Config
from hypercorn.asyncio import serve
from pycrdt.websocket import ASGIServer, WebsocketServer

async def main():
    config = Config()
    config.bind = [sys.argv[1]]
    async with WebsocketServer() as rooms:
        await serve(ASGIServer(rooms), config)

asyncio.run(main())
"""


@pytest.fixture
def stock() -> Iterator[str]:
    """Address of a pycrdt-websocket server, which may not accept connections yet."""
    host_and_port = f"{HOST}:{free_port()}"
    process = subprocess.Popen([sys.executable, "-c", STOCK, host_and_port], stderr=subprocess.DEVNULL)
    yield f"ws://{host_and_port}"
    process.kill()
    process.wait()


def test_two_clients_sync_without_save_status(stock: str, caplog: pytest.LogCaptureFixture) -> None:
    with connect("room", server=stock) as one, connect("room", server=stock) as two:
        one.state["a"] = 1
        while "a" not in two.state:
            assert two.wait(10)
        assert not one.flush() and not one.saved and one.unsaved_count == 1
    assert "does not report saves" in caplog.text
