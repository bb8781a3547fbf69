"""Room server on hypercorn, in a process (`serve`) or in a daemon thread of another process (`EmbeddedServer`).

At shutdown, sockets are closed with 1012 and updates flushed before hypercorn stops. In the other order, hypercorn
would wait for its `graceful_timeout`, close the remaining sockets with 1011, and only then let the application flush.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import cast

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.typing import Framework

from streamlit_crdt_server.asgi.app import create_app
from streamlit_crdt_server.auth.key_ring import standalone_ring
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import CannotListenError, PortTakenError, ServerStoppedError, StoreError
from streamlit_crdt_server.gc_freeze import freeze_collector
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.settings import Settings

GRACE_S = 1.0
"""Seconds that hypercorn may take to stop after all sockets are closed."""

BACKLOG = 1024
"""Connections that may wait to be accepted, for example after a restart. The system refuses more."""


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket, so that the port is known and reserved before the server starts.

    Raises:
        PortTakenError: Another program listens there.
        CannotListenError: The address does not belong to this machine, or the port needs privileges.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise CannotListenError(host, port, error.strerror or str(error)) from error
    try:
        if sys.platform != "win32":  # on Windows it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(host, port) from error
        raise CannotListenError(host, port, error.strerror or str(error)) from error
    return listener


async def run(
    settings: Settings,
    hub: Hub,
    listener: socket.socket,
    stop: Callable[[], Awaitable[object]],
    on_started: Callable[[], object],
) -> None:
    """Serve `hub` on `listener` until `stop()` returns, and close `listener`."""
    stopped = asyncio.Event()

    async def until_stopped() -> None:
        on_started()
        await stop()
        await hub.drain()
        stopped.set()

    with listener:  # closed also if the store cannot be opened
        async with hub:
            app = create_app(settings, hub=hub)
            config = _hypercorn_config(settings, listener)
            serving = asyncio.ensure_future(
                hypercorn_serve(cast(Framework, app), config, shutdown_trigger=until_stopped, mode="asgi")
            )
            stopping = asyncio.ensure_future(stopped.wait())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait((serving,), timeout=GRACE_S + 0.5)
            finally:
                stopping.cancel()
                serving.cancel()
                await asyncio.wait((serving,))
    if not serving.cancelled():
        serving.result()


def _hypercorn_config(settings: Settings, listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.graceful_timeout = GRACE_S
    config.errorlog = _quiet_logger()
    config.accesslog = None
    # The server closes with 4413, after which y-websocket does not reconnect; after hypercorn's 1009 it would.
    config.websocket_max_message_size = 2 * settings.max_frame_bytes
    return config


def _quiet_logger() -> logging.Logger:
    """Return a logger without hypercorn's messages at startup, which show a file descriptor instead of the port."""
    logger = logging.getLogger("streamlit_crdt_server.hypercorn")
    logger.setLevel(logging.WARNING)
    return logger


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return the actual host and port of a listening socket."""
    host, port = listener.getsockname()[:2]
    return str(host), int(port)


async def serve(
    settings: Settings, *, shutdown_trigger: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Run a room server until SIGTERM or SIGINT, or until `shutdown_trigger()` returns.

    Then sockets are closed with 1012, so that clients reconnect to the next server, and this returns.

    Raises:
        PortTakenError, CannotListenError: The server cannot listen on its address; it was not started.
        SettingsError: A secret is missing, see `standalone_ring`; the server was not started.
    """
    keys = standalone_ring(settings) if settings.require_token else None
    listener = listen(settings.host, settings.port)
    host, port = address_of(listener)
    shown_host = f"[{host}]" if ":" in host else host
    where = "in memory" if settings.store is None else f"in {settings.store}"

    def announce() -> None:
        if settings.freeze_gc:
            freeze_collector()
        print(f"streamlit-crdt room server: ws://{shown_host}:{port} (rooms are kept {where})", flush=True)

    await run(settings, Hub(settings, keys=keys), listener, shutdown_trigger or _signalled(), announce)


def _signalled() -> Callable[[], Awaitable[object]]:
    """Return an async function that waits for the first SIGTERM or SIGINT."""
    received = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, received.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(received.set))
    return received.wait


class EmbeddedServer:
    """A room server in a thread. It is started once, and stopped once, at the latest when the process ends.

    Attributes:
        hub: The rooms. `hub.open_local()` works between `start()` and `stop()`.
        host: Address of the listening socket.
        port: Port of the listening socket. After `start()` it is the actual port, also if the setting is 0.
    """

    def __init__(self, settings: Settings, *, keys: KeyRing | None = None) -> None:
        self.hub = Hub(settings, keys=keys)
        self.host = settings.host
        self.port = settings.port
        self._settings = settings
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self, *, timeout_s: float = 10.0) -> None:
        """Start the server, and return once it accepts connections.

        Raises:
            PortTakenError, CannotListenError: The server cannot listen on its address; it was not started.
            StoreError: The store cannot be opened, for example because another process owns it.
            ServerStoppedError: The server failed during its start.
            TimeoutError: The start took longer than `timeout_s`.
        """
        if self._thread is not None:
            return
        listener = listen(self._settings.host, self._settings.port)
        self.port = address_of(listener)[1]
        started: Future[None] = Future()

        def run_in_thread() -> None:
            try:
                asyncio.run(self._serve(listener, started))
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        self._thread = threading.Thread(target=run_in_thread, name="streamlit-crdt-server", daemon=True)
        self._thread.start()
        try:
            started.result(timeout_s)
        except TimeoutError:
            self.stop()
            raise
        except StoreError:
            raise
        except BaseException as error:
            raise ServerStoppedError() from error
        # A daemon thread runs until all atexit functions have returned. By then no thread can be started and no
        # executor be used. `stop` needs neither, because the threads of the store exist from the start.
        atexit.register(self.stop)

    def stop(self, *, timeout_s: float | None = None) -> None:
        """Flush, close all sockets with 1012, and end the thread. May be called again, by any thread.

        Args:
            timeout_s: Longest wait in seconds; None for `flush_timeout_s` and a few seconds more.
        """
        atexit.unregister(self.stop)
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None or loop is None or stop is None:
            return
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:
            return  # the loop has already ended
        thread.join(self._settings.flush_timeout_s + GRACE_S + 5.0 if timeout_s is None else timeout_s)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await run(self._settings, self.hub, listener, self._stop.wait, lambda: started.set_result(None))
