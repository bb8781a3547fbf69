"""The room server as an ASGI application: sockets at `/{room}`, and health for whoever watches over it.

It runs by itself under any ASGI server, or mounted in another Starlette application.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from streamlit_crdt_server.errors import OriginRefused, RoomNameRefused, ServerError
from streamlit_crdt_server.hub import Hub
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.socket import Socket, header, is_origin_allowed, refuse

_log = logging.getLogger(__name__)


def create_app(settings: Settings, *, hub: Hub | None = None) -> Starlette:
    """Make the application.

    Args:
        settings: The limits, and which origins may connect.
        hub: The hub to serve. Whoever passes one runs it: Starlette does not run the lifespan of a mounted
            application. None makes one that the application's own lifespan runs. It is `app.state.hub` in
            both cases.
    """
    served = Hub(settings) if hub is None else hub
    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            WebSocketRoute("/{room}", Gate(served, settings)),
        ],
        lifespan=_run_hub if hub is None else None,
    )
    app.state.hub = served
    return app


class Gate:
    """The ASGI endpoint of sockets: asks what is to be asked, accepts, and hands the socket to the hub.

    Refusals are HTTP 403 before the socket is accepted: y-websocket resets its back-off when a connection
    opens, so that accept-then-close makes it come back ten times a second.
    """

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        room = str(scope["path_params"]["room"])
        try:
            self._check(scope, room)
        except ServerError as error:
            _log.warning("refused a connection: %s", error)
            await refuse(send)
            return
        socket = Socket(receive, send, room)
        await socket.accept(next(iter(scope.get("subprotocols", ())), None))
        await self._hub.serve(socket)

    def _check(self, scope: Scope, room: str) -> None:
        """Raise a ServerError unless this connection may be accepted."""
        if not is_origin_allowed(scope, self._settings.allow_origin):
            raise OriginRefused(header(scope, b"origin") or "")
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if raw_path.partition(b"?")[0].rpartition(b"/")[2] != room.encode():
            raise RoomNameRefused(raw_path.decode("latin-1"))  # encoded: two spellings would be one room
        self._hub.check_can_open(room)


@asynccontextmanager
async def _run_hub(app: Starlette) -> AsyncIterator[None]:
    async with app.state.hub:
        yield


async def _healthz(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> PlainTextResponse:
    if request.app.state.hub.is_open:
        return PlainTextResponse("ready\n")
    return PlainTextResponse("not ready: the hub does not run\n", status_code=503)
