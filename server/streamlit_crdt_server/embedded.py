"""The room server inside another process: hypercorn in a daemon thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import atexit
import socket
import threading
from concurrent.futures import Future

from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import ServerStoppedError, StoreError
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.serving import GRACE_S, address_of, listen, run
from streamlit_crdt_server.settings import Settings


class EmbeddedServer:
    """A room server in a thread. It is started once, and stopped once: by the end of the process at the latest.

    Attributes:
        hub: Its rooms; `hub.open_local()` works between `start()` and `stop()`.
        host: Address that it listens on.
        port: Port that it listens on; the real one after `start()`, also when the settings say 0.
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
        """Listen, and return once connections are answered.

        Raises:
            PortTakenError, CannotListenError: It cannot listen there; nothing was started.
            StoreError: The store cannot be opened, because another process owns it for instance.
            ServerStoppedError: The server failed while it started.
            TimeoutError: It took longer than `timeout_s`.
        """
        if self._thread is not None:
            return
        listener = listen(self._settings.host, self._settings.port)
        self.port = address_of(listener)[1]
        started: Future[None] = Future()

        def serve() -> None:
            try:
                asyncio.run(self._serve(listener, started))
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        self._thread = threading.Thread(target=serve, name="streamlit-crdt-server", daemon=True)
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
        # A daemon thread goes on until all of these have run. By then no thread can be started any more, and
        # no executor be used; stopping needs neither, because the store's threads have been there from the start.
        atexit.register(self.stop)

    def stop(self, *, timeout_s: float | None = None) -> None:
        """Flush, close every socket with 1012, and end the thread. May be called again, by any thread.

        Waits for `timeout_s`; None waits as long as a store that fails may hold the rooms up, and a little.
        """
        atexit.unregister(self.stop)
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None or loop is None or stop is None:
            return
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:
            return  # it has ended by itself
        thread.join(self._settings.flush_timeout_s + GRACE_S + 5.0 if timeout_s is None else timeout_s)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await run(self._settings, self.hub, listener, self._stop.wait, lambda: started.set_result(None))
