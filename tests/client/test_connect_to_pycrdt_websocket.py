"""`connect()` and pycrdt-websocket as shipped, which knows neither tokens nor epochs nor what is saved."""

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
    """The address of a stock server, which may not listen yet."""
    place = f"{HOST}:{free_port()}"
    process = subprocess.Popen([sys.executable, "-c", STOCK, place], stderr=subprocess.DEVNULL)
    yield f"ws://{place}"
    process.kill()
    process.wait()


def test_two_jobs_meet_on_a_stock_server_which_never_says_what_it_has_saved(
    stock: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect("room", server=stock) as one, connect("room", server=stock) as two:
        one.state["a"] = 1
        while "a" not in two.state:
            assert two.wait(10)
        assert not one.flush() and not one.saved and one.unsaved_count == 1
    assert "does not say whether they are saved" in caplog.text
