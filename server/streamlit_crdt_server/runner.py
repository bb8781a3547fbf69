"""Room server on hypercorn, in a process (`serve`) or in a daemon thread of another process (`EmbeddedServer`).

At shutdown, sockets are closed with 1012 and updates flushed while connections are still accepted and refused. Then the
remaining connections end.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import cast

from hypercorn.typing import Framework

from streamlit_crdt_server.asgi.app import create_app
from streamlit_crdt_server.auth.key_ring import standalone_ring
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import ServerStoppedError, StoreError
from streamlit_crdt_server.gc_freeze import freeze_collector
from streamlit_crdt_server.http.acceptor import Acceptor
from streamlit_crdt_server.http.listener import address_of, listen
from streamlit_crdt_server.http.metrics_server import serving_metrics
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.open_files import open_file_limit, raise_open_file_limit, share_connections
from streamlit_crdt_server.settings import Settings

GRACE_S = 1.0
"""Seconds that connections may take to end after all sockets are closed."""


async def run(
    settings: Settings,
    hub: Hub,
    listener: socket.socket,
    stop: Callable[[], Awaitable[object]],
    on_started: Callable[[tuple[str, int] | None], object],
) -> None:
    """Serve `hub` on `listener` until `stop()` returns, and close `listener`.

    Args:
        settings: The limits, and the port of the metrics.
        hub: The rooms.
        listener: The listening socket.
        stop: Returns when the server must stop.
        on_started: Called with host and port of the metrics, None without a port of their own.
    """

    async def until_stopped() -> None:
        on_started(metrics_address)
        await stop()
        await hub.drain()

    with listener:  # closed also if the store cannot be opened
        raise_open_file_limit()
        shares = share_connections(settings.max_connections, open_file_limit())
        async with serving_metrics(settings, hub.metrics) as metrics_address, hub:
            app = create_app(settings, hub=hub)
            acceptor = Acceptor(
                cast(Framework, app),
                listener,
                max_connections=shares.total,
                handshake_timeout_s=settings.handshake_timeout_s,
                # The server closes with 4413, after which y-websocket does not reconnect; after 1009 it would.
                max_message_bytes=2 * settings.max_frame_bytes,
                metrics=hub.metrics,
            )
            serving = asyncio.ensure_future(acceptor.serve())
            stopping = asyncio.ensure_future(until_stopped())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                serving.cancel()
                stopping.cancel()
                await asyncio.wait((serving, stopping))
                await acceptor.stop(GRACE_S)
    for ended in (serving, stopping):
        if not ended.cancelled():
            ended.result()


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
    where = "in memory" if settings.store is None else f"in {settings.store}"

    def announce(metrics_address: tuple[str, int] | None) -> None:
        if settings.freeze_gc:
            freeze_collector()
        print(f"streamlit-crdt room server: {_url('ws', host, port)} (rooms are kept {where})", flush=True)
        if metrics_address is not None:
            print(f"streamlit-crdt metrics: {_url('http', *metrics_address)}/metrics", flush=True)

    await run(settings, Hub(settings, keys=keys), listener, shutdown_trigger or _signalled(), announce)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


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
        await run(self._settings, self.hub, listener, self._stop.wait, lambda _: started.set_result(None))
