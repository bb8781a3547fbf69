"""The port of `/metrics`, apart from the port of the rooms, so that no proxy of the rooms passes requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from hypercorn.typing import Framework
from starlette.applications import Starlette

from streamlit_crdt_server.asgi.metrics_endpoint import MetricsEndpoint
from streamlit_crdt_server.http.acceptor import Acceptor
from streamlit_crdt_server.http.listener import address_of, listen
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.settings import Settings

MAX_CONNECTIONS = 16
"""Connections to the port. One more closes the oldest one."""

MAX_MESSAGE_BYTES = 1024
"""Bytes of a WebSocket message. The application has no WebSockets."""


@asynccontextmanager
async def serving_metrics(settings: Settings, metrics: Metrics) -> AsyncIterator[tuple[str, int] | None]:
    """Serve `/metrics` on `metrics_port` during the block, if it is set. Yield the actual host and port.

    Raises:
        PortTakenError, CannotListenError: The server cannot listen on the port.
    """
    if settings.metrics_port is None:
        yield None
        return
    endpoint = MetricsEndpoint(metrics, host=settings.metrics_host)
    app = Starlette(routes=[endpoint.route])
    app.router.redirect_slashes = False
    with listen(settings.metrics_host, settings.metrics_port, setting="metrics_port") as listener:
        acceptor = Acceptor(
            cast(Framework, app),
            listener,
            max_connections=MAX_CONNECTIONS,
            handshake_timeout_s=settings.handshake_timeout_s,
            max_message_bytes=MAX_MESSAGE_BYTES,
            metrics=metrics,
        )
        serving = asyncio.ensure_future(acceptor.serve())
        try:
            yield address_of(listener)
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
            await acceptor.stop(0.0)
