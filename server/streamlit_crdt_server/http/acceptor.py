"""Acceptance of TCP connections, within the limit of open files.

A client without a token can open any number of connections. Those without an accepted WebSocket are *pending*, and
their number is limited: one more closes the oldest one. Clients whose request arrives soon are served at any time,
because they are not the oldest. A connection that sends no complete request in time is closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import Framework
from hypercorn.utils import wrap_app

from streamlit_crdt_server.http.connection import HttpConnection
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import address_group
from streamlit_crdt_server.throttled_log import ThrottledLog

_log = logging.getLogger(__name__)

ACCEPT_RETRY_S = 0.1
"""Delay in seconds before the next attempt after the system refused to accept a connection."""

MAX_HEADER_BYTES = 16 * 1024
"""Bytes of a request's head. A token of the largest size fits."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PendingConnections:
    """Connections without an accepted WebSocket, oldest first, at most `max_pending`."""

    def __init__(self, max_pending: int) -> None:
        self._max = max_pending
        self._all: dict[HttpConnection, str] = {}
        self._by_address: dict[str, dict[HttpConnection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: HttpConnection, address: str) -> bool:
        """Add a connection. Return whether another one was closed for it.

        If its address has more than half of all, the oldest of that address is closed, otherwise the oldest of all.
        """
        own = self._by_address.get(address, {})
        is_full = len(self._all) >= self._max
        if is_full:
            self.close_oldest(own if len(own) > self._max // 2 else self._all)
        self._all[connection] = address
        self._by_address.setdefault(address, {})[connection] = None
        return is_full

    def discard(self, connection: HttpConnection) -> None:
        """Remove a connection, because it has a WebSocket or has ended. Does nothing if it is not pending."""
        address = self._all.pop(connection, None)
        if address is None:
            return
        group = self._by_address[address]
        del group[connection]
        if not group:
            del self._by_address[address]

    def close_oldest(self, among: dict[HttpConnection, Any] | None = None) -> None:
        """Close the oldest connection. Does nothing if there is none."""
        oldest = next(iter(self._all if among is None else among), None)
        if oldest is not None:
            self.discard(oldest)
            oldest.abort()


class Acceptor:
    """Serves an ASGI application on a listening socket."""

    def __init__(
        self,
        app: Framework,
        listener: socket.socket,
        *,
        max_pending: int,
        handshake_timeout_s: float,
        max_message_bytes: int,
        metrics: Metrics,
    ) -> None:
        """Create an acceptor. `serve()` accepts connections, `stop()` ends them.

        Args:
            app: The application. Its lifespan is not run.
            listener: The listening socket. The caller closes it.
            max_pending: Connections without an accepted WebSocket.
            handshake_timeout_s: Seconds in which a connection must have sent a complete request.
            max_message_bytes: A longer WebSocket message closes its connection with 1009.
            metrics: Counts the connections that were closed without an answer.
        """
        self._config = config = Config()
        config.errorlog = _quiet_logger()
        config.accesslog = None
        config.keep_alive_timeout = handshake_timeout_s
        config.h11_max_incomplete_size = MAX_HEADER_BYTES
        config.websocket_max_message_size = max_message_bytes
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._listener = listener
        self._metrics = metrics
        self._pending = PendingConnections(max_pending)
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttled = ThrottledLog(_log)

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            try:
                accepted, peer = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    self._throttled.warning("accept", "a connection could not be accepted: %s", error)
                    continue
                self._throttled.warning(
                    "resources", "no connection can be accepted, the oldest pending one is closed: %s", error
                )
                self._pending.close_oldest()
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            address = address_group(str(peer[0])) if isinstance(peer, tuple) else ""
            task = loop.create_task(self._serve(accepted, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0)  # sock_accept does not suspend while connections wait

    async def stop(self, grace_s: float) -> None:
        """End all connections: idle ones at once, the others after `grace_s` at the latest."""
        await self._context.terminated.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _serve(self, accepted: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection = HttpConnection(
            self._app, self._config, self._context, reader, writer, on_websocket=self._pending.discard
        )
        if self._pending.add(connection, address):
            self._metrics.refusals.labels("too_many_pending").inc()
            self._throttled.warning(
                "pending", "too many connections without a request: the oldest one is closed"
            )
        try:
            await connection.run()
        except Exception as error:  # the outer edge of a connection
            self._throttled.warning("failed", "a connection from %s failed: %r", address, error)
            _log.debug("a connection failed", exc_info=True)
        finally:
            self._pending.discard(connection)
            connection.abort()


def _quiet_logger() -> logging.Logger:
    """Return the logger of hypercorn's errors."""
    logger = logging.getLogger("streamlit_crdt_server.hypercorn")
    logger.setLevel(logging.WARNING)
    return logger
