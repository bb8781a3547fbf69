"""A room server without a socket: its rooms are in memory, and only sessions of this process are in them.

A hub of its own for each test, so that no test finds what another has left, and neither a port nor a file is needed.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import Hub, LocalPeer, Settings

OPEN_TIMEOUT_S: Final = 10.0
"""How long a busy machine may take to start the hub's thread, or to open a room; nothing else is waited for."""


class RoomsInMemory:
    """A running hub in a thread with an event loop of its own; use it as `with RoomsInMemory() as rooms:`."""

    def __init__(self) -> None:
        self.hub = Hub(Settings(require_token=False))
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="streamlit-crdt-testing", daemon=True)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(OPEN_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(OPEN_TIMEOUT_S)

    def open(self, room: str, session: str | None = None) -> LocalPeer:
        """Join a room, as a session if its name is given."""
        return self.hub.open_local(room, session=session, timeout_s=OPEN_TIMEOUT_S)

    def replica(self, room: str) -> Replica:
        """Return a replica of what the room holds now, as somebody has it who joins."""
        peer, replica = self.open(room), Replica()
        try:
            if update := peer.drain():
                replica.apply(update)
        finally:
            peer.close()
        return replica

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self.hub:
            self._started.set_result(None)
            await self._stop.wait()
