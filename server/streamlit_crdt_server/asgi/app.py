"""The room server as an ASGI application: WebSockets at `/{room}`, health checks, metrics and the admin API.

It runs by itself under any ASGI server, or mounted in another Starlette application.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from streamlit_crdt_server.asgi.admin_api import AdminApi
from streamlit_crdt_server.asgi.credentials import HideQuery
from streamlit_crdt_server.asgi.websocket_endpoint import WebSocketEndpoint
from streamlit_crdt_server.auth.key_ring import standalone_ring
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.metrics import CONTENT_TYPE
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.settings import Settings


def create_app(
    settings: Settings,
    *,
    hub: Hub | None = None,
    keys: KeyRing | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Create the application.

    Args:
        settings: The limits, and the rules for connections.
        hub: The hub to serve. The caller runs it, because Starlette does not run the lifespan of a mounted
            application. None creates a hub that the lifespan of this application runs. It is `app.state.hub` in both
            cases.
        keys: The keys that verify tokens. None takes those of the hub, and without a hub those of a stand-alone
            server, see `standalone_ring`.
        clock: Returns the time in seconds since the epoch, for the expiry of tokens.

    Raises:
        SettingsError: Tokens are required and there are no keys to verify them.
    """
    if hub is None and keys is None and settings.require_token:
        keys = standalone_ring(settings)
    served = Hub(settings, keys=keys) if hub is None else hub
    ring = served.keys if keys is None else keys
    endpoint = WebSocketEndpoint(served, settings, keys=ring, clock=clock)
    admin_api = AdminApi(served, settings, keys=ring, clock=clock)
    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            Route("/metrics", _metrics),
            *admin_api.routes,
            WebSocketRoute("/{room}", endpoint),
        ],
        middleware=[Middleware(HideQuery)],
        lifespan=_run_hub if hub is None else None,
    )
    app.state.hub = served
    return app


@asynccontextmanager
async def _run_hub(app: Starlette) -> AsyncIterator[None]:
    async with app.state.hub:
        yield


async def _healthz(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> PlainTextResponse:
    hub: Hub = request.app.state.hub
    if not hub.is_open:
        return PlainTextResponse("not ready: the hub is not running\n", status_code=503)
    if any(isinstance(room, Room) and room.is_saving_failing for room in hub.rooms.values()):
        return PlainTextResponse("not ready: the store is failing; see the log\n", status_code=503)
    return PlainTextResponse("ready\n")


async def _metrics(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    return Response(hub.metrics.encode(), media_type=CONTENT_TYPE)
