"""Adjustments of the ASGI server of a mounted app."""

from __future__ import annotations

import asyncio
from typing import Any

import hypercorn.config
import pytest
import uvicorn

from streamlit_crdt.deploy.asgi_server import asgi_server
from streamlit_crdt_server import Metrics, Settings
from streamlit_crdt_server.http.accept_errors import ACCEPT_MESSAGE, throttled_accept_errors

pytestmark = pytest.mark.anyio


class Lifespan:
    """The place of the lifespan in a server: a method of an object with the server's configuration."""

    def __init__(self, config: Any) -> None:
        self.config = config

    async def main(self) -> None:
        async with asgi_server(Settings(), Metrics()):
            pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("it is not called")


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (uvicorn.Config(app, ws_per_message_deflate=True), "--ws-per-message-deflate false"),
        (uvicorn.Config(app, ws_per_message_deflate=False), None),
        (hypercorn.config.Config(), "use uvicorn"),
        (object(), None),
    ],
)
async def test_server_that_accepts_compressed_frames_is_reported(
    config: Any, remedy: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.create_task(Lifespan(config).main())
    assert [message for message in caplog.messages if "permessage-deflate" in message] == [
        message for message in caplog.messages if remedy is not None and remedy in message
    ]
    assert len(caplog.messages) == (remedy is not None)


async def test_accept_errors_are_logged_once_and_others_as_before(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    others: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: others.append(context))
    try:
        with throttled_accept_errors(loop):
            for _ in range(1000):
                loop.call_exception_handler({"message": ACCEPT_MESSAGE, "exception": OSError(24, "files")})
            loop.call_exception_handler({"message": "another"})
        loop.call_exception_handler({"message": ACCEPT_MESSAGE})
    finally:
        loop.set_exception_handler(None)
    assert [context["message"] for context in others] == ["another", ACCEPT_MESSAGE]
    assert 1 <= len(caplog.messages) <= 3
    assert "files" in caplog.text
