"""Acceptance of TCP connections, within the limit of open files.

A client without a token can open any number of connections. Those without an accepted WebSocket are *pending*. They get
what the WebSockets leave of the limit, which is a quarter at least. At the limit, one more closes the oldest pending
one. Clients whose request arrives soon are served at any time, because they are not the oldest. A connection that sends
no complete request in time is closed.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket

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

ACCEPT_BATCH = 16
"""Connections that are accepted before other tasks run. More would delay the edits of connected clients."""

MAX_HEADER_BYTES = 16 * 1024
"""Bytes of a request's head. A token of the largest size fits."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PendingConnections:
    """Connections without an accepted WebSocket, oldest first."""

    def __init__(self) -> None:
        self._all: dict[HttpConnection, str] = {}
        self._by_address: dict[str, dict[HttpConnection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: HttpConnection, address: str) -> None:
        """Add a connection."""
        self._all[connection] = address
        self._by_address.setdefault(address, {})[connection] = None

    def close_oldest(self, address: str) -> bool:
        """Close the oldest connection for a new one. Return whether there was one.

        If the address of the new one has more than half of all, it is the oldest of that address.
        """
        own = self._by_address.get(address, {})
        oldest = next(iter(own if 2 * len(own) > len(self._all) else self._all), None)
        if oldest is None:
            return False
        self.discard(oldest)
        oldest.abort()
        return True

    def discard(self, connection: HttpConnection) -> None:
        """Remove a connection, because it has a WebSocket or has ended. Does nothing if it is not pending."""
        address = self._all.pop(connection, None)
        if address is None:
            return
        group = self._by_address[address]
        del group[connection]
        if not group:
            del self._by_address[address]


class Acceptor:
    """Serves an ASGI application on a listening socket."""

    def __init__(
        self,
        app: Framework,
        listener: socket.socket,
        *,
        max_connections: int,
        handshake_timeout_s: float,
        max_message_bytes: int,
        metrics: Metrics,
    ) -> None:
        """Create an acceptor. `serve()` accepts connections, `stop()` ends them.

        Args:
            app: The application. Its lifespan is not run.
            listener: The listening socket. The caller closes it.
            max_connections: Limit of all connections. The application limits those with an accepted WebSocket.
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
        self._max_connections = max_connections
        self._pending = PendingConnections()
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttled = ThrottledLog(_log)

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        for count in itertools.count(1):
            if count % ACCEPT_BATCH == 0:
                await asyncio.sleep(0)  # sock_accept does not suspend while connections wait
            try:
                accepted, peer = await loop.sock_accept(self._listener)
            except OSError as error:
                await self._recover(error)
                continue
            address = address_group(str(peer[0])) if isinstance(peer, tuple) else ""
            if len(self._tasks) >= self._max_connections:
                self._make_space(address)
            task = loop.create_task(self._serve(accepted, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _make_space(self, address: str) -> None:
        if self._pending.close_oldest(address):
            self._metrics.refusals.labels("too_many_pending").inc()
            self._throttled.warning(
                "pending", "too many connections: the oldest one without a request is closed"
            )

    async def _recover(self, error: OSError) -> None:
        """Log an error of an accept, and wait if the system has no resources."""
        if error.errno in _OUT_OF_RESOURCES:
            self._throttled.warning(
                "resources", "no connection can be accepted, the oldest pending one is closed: %s", error
            )
            self._pending.close_oldest("")
            await asyncio.sleep(ACCEPT_RETRY_S)
        else:
            self._throttled.warning("accept", "a connection could not be accepted: %s", error)

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
        self._pending.add(connection, address)
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
