"""One TCP connection: hypercorn's HTTP/1.1 and WebSockets, without HTTP/2 and without compressed frames.

hypercorn answers `Upgrade: h2c` and HTTP/2 by prior knowledge, for which it has no setting. A client could pass a proxy
with an upgrade and then request paths that the proxy does not see. hypercorn also accepts permessage-deflate, and
unpacks a frame before any limit: 16 kB become 16 MB. Updates do not compress well, so compression is never accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGISendCallable,
    ConnectionState,
    LifespanState,
    Scope,
)
from hypercorn.utils import parse_socket_addr

HTTP_VERSIONS = (b"1.0", b"1.1")

CLOSE_S = 5.0
"""Seconds that a client has to read the rest of a WebSocket that has ended. hypercorn would wait forever."""

_SWITCHING_PROTOCOLS = 101
_BAD_REQUEST = 400
_VERSION_NOT_SUPPORTED = 505


class Http1Parser(h11.Connection):
    """The parser of one connection. Refuses what hypercorn would answer with HTTP/2 or fail on."""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            if event.http_version not in HTTP_VERSIONS:
                raise h11.RemoteProtocolError("only HTTP/1.1 is served", _VERSION_NOT_SUPPORTED)
            if not all(value.isascii() for name, value in event.headers if name.startswith(b"sec-websocket")):
                raise h11.RemoteProtocolError("a header is not ASCII", _BAD_REQUEST)
        return event


class Http1Protocol(H11Protocol):
    """The protocol of one connection. Calls `on_websocket` when a WebSocket was accepted."""

    def __init__(self, *arguments: Any, on_websocket: Callable[[], None]) -> None:
        super().__init__(*arguments)
        self.connection = Http1Parser(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        self._on_websocket = on_websocket

    async def stream_send(self, event: Event) -> None:
        if isinstance(event, Response) and event.status_code == _SWITCHING_PROTOCOLS:
            self._on_websocket()
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore `Upgrade: h2c`. The request is answered in HTTP/1.1."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Pass a request on without the extensions that the client offers. One of them is permessage-deflate."""
        headers = [(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )


class HttpConnection(TCPServer):
    """One TCP connection. `await run()` serves it until it ends."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_websocket: Callable[[HttpConnection], None],
    ) -> None:
        """Create a connection.

        Args:
            app, config, context: Those of hypercorn.
            reader: The received bytes.
            writer: The destination of sent bytes.
            on_websocket: Called when a WebSocket was accepted.
        """
        loop = asyncio.get_running_loop()
        super().__init__(self._run_app, loop, config, context, LifespanState({}), reader, writer)
        self._served_app = app
        self._on_websocket = on_websocket

    async def run(self) -> None:
        """Serve the connection. hypercorn's `run` with `Http1Protocol` in place of its choice of protocols."""
        socket = self.writer.get_extra_info("socket")
        try:
            async with TaskGroup(self.loop) as task_group:
                self._task_group = task_group
                self.protocol = Http1Protocol(  # type: ignore[assignment]  # hypercorn has a wrapper of two protocols
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    False,
                    parse_socket_addr(socket.family, socket.getpeername()),
                    parse_socket_addr(socket.family, socket.getsockname()),
                    self.protocol_send,
                    on_websocket=lambda: self._on_websocket(self),
                )
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            return  # the client closed
        finally:
            await self._close()

    async def _run_app(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """Run the application. A WebSocket that it has left is closed, also if its client does not read."""
        try:
            await self._served_app(scope, receive, send, sync_spawn, call_soon)
        finally:
            if scope["type"] == "websocket":
                self.loop.call_later(CLOSE_S, self.abort)

    def abort(self) -> None:
        """Close the connection at once, without an answer."""
        self.writer.transport.abort()
