"""The room server as an ASGI application: WebSockets at `/{room}`, health checks, metrics and the admin API.

A WebSocket is always a room, also at `/metrics`, and any other request is never one. The application runs by itself
under any ASGI server, or mounted in another Starlette application.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from streamlit_crdt_server.asgi.admin_api import AdminApi
from streamlit_crdt_server.asgi.credentials import HideQuery
from streamlit_crdt_server.asgi.metrics_endpoint import MetricsEndpoint
from streamlit_crdt_server.asgi.websocket_endpoint import WebSocketEndpoint
from streamlit_crdt_server.auth.key_ring import standalone_ring
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.open_files import open_file_limit, share_connections
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.settings import Settings

_log = logging.getLogger(__name__)


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
    endpoint = WebSocketEndpoint(
        served, settings, keys=ring, max_accepted=_max_accepted(settings), clock=clock
    )
    admin_api = AdminApi(served, settings, keys=ring, clock=clock)
    # On a port that other machines reach, metrics are for `metrics_port` only.
    is_metrics_port = settings.metrics_port is None and is_loopback(settings.host)
    metrics = [MetricsEndpoint(served.metrics, host=settings.host).route] if is_metrics_port else []
    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            *metrics,
            *admin_api.routes,
            WebSocketRoute("/{room:path}", endpoint),
        ],
        middleware=[Middleware(HideQuery)],
        lifespan=_run_hub if hub is None else None,
    )
    app.router.redirect_slashes = False  # a redirect would contain the Host header of the request
    app.state.hub = served
    return app


def _max_accepted(settings: Settings) -> int:
    """Return the limit of accepted WebSockets: the setting, if the process may open as many files."""
    max_files = open_file_limit()
    shares = share_connections(settings.max_connections, max_files)
    if settings.max_connections is not None and settings.max_connections > shares.total:
        _log.warning(
            "max_connections=%d is reduced to %d, because the process may open %d files: raise its limit, for "
            "example with `ulimit -n` or LimitNOFILE",
            settings.max_connections,
            shares.total,
            max_files,
        )
    return shares.accepted


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
