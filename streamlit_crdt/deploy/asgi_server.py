"""The ASGI server of a mounted app: its accept errors, its compression of WebSocket frames, its port of metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streamlit_crdt_server import Metrics, Settings
from streamlit_crdt_server.http.accept_errors import throttled_accept_errors
from streamlit_crdt_server.http.metrics_server import serving_metrics

_log = logging.getLogger("streamlit_crdt")

_COMPRESSION: Final = (
    "%s accepts compressed WebSocket frames (permessage-deflate). It unpacks a frame before the limits of the room "
    "server apply, so that a small message may take much memory: %s"
)


@asynccontextmanager
async def asgi_server(settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    """Adjust the event loop of the ASGI server that runs this lifespan, and serve `metrics_port`, during the block."""
    _warn_of_compression()
    with throttled_accept_errors(asyncio.get_running_loop()):
        async with serving_metrics(settings, metrics):
            yield


def _warn_of_compression() -> None:
    """Log a warning if the ASGI server accepts compressed frames. An application can only detect this, not change it.

    ASGI has no field for it. The servers run the lifespan in a method of an object with their configuration.
    """
    task = asyncio.current_task()
    frame = getattr(None if task is None else task.get_coro(), "cr_frame", None)
    config = getattr(frame and frame.f_locals.get("self"), "config", None)
    server = type(config).__module__.partition(".")[0]
    if server == "uvicorn" and getattr(config, "ws_per_message_deflate", False):
        _log.warning(_COMPRESSION, server, "start it with --ws-per-message-deflate false")
    elif server == "hypercorn":
        _log.warning(
            _COMPRESSION, server, "it has no setting for that, so use uvicorn or `streamlit-crdt run`"
        )
