"""A simulated session's line to the rooms: it can be cut, and while it is not, it has no delay.

A room server without a socket: its rooms are in memory, and only sessions of this process are in them.

A hub of its own for each test, so that no test finds what another has left, and neither a port nor a file is needed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Final, Self

from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import Hub, HubNotRunningError, KeyRing, LocalPeer, RoomEntry, Settings

OPEN_TIMEOUT_S: Final = 10.0
"""How long a busy machine may take to start the hub's thread, or to open a room; nothing else is waited for."""


class MemoryServer:
    """A running hub in a thread with an event loop of its own; use it as `with MemoryServer() as rooms:`."""

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


ANSWER_TIMEOUT_S: Final = 10.0
"""So long a push may take on a busy machine; then the test goes on without its answer."""


class BlockingPeer:
    """A peer in whose room everybody has an update once `push` returns.

    So a test that runs one session and then another need not wait for the room's thread: what was done first is there.
    """

    def __init__(self, peer: LocalPeer) -> None:
        self._peer = peer

    @property
    def epoch(self) -> str:
        return self._peer.epoch

    @property
    def is_closed(self) -> bool:
        return self._peer.is_closed

    @property
    def was_deleted(self) -> bool:
        return self._peer.was_deleted

    def push(self, update: bytes) -> Future[None]:
        answer = self._peer.push(update)
        wait([answer], ANSWER_TIMEOUT_S)
        return answer

    def drain(self) -> bytes | None:
        return self._peer.drain()

    def close(self, *, for_good: bool = False) -> None:
        self._peer.close(for_good=for_good)


class SimulatedNetwork:
    """A `Place` of one session.

    Attributes:
        hub: whose rooms these are.
        is_cut: whether no room can be joined at the moment.
    """

    namespace: str = ""
    poll_s: float | None = None
    tab_brings_the_room: bool = False
    keys: KeyRing | None = None

    def __init__(self, rooms: MemoryServer) -> None:
        self.hub = rooms.hub
        self.is_cut = False
        self._rooms = rooms

    def open(self, room: str, session: str | None = None) -> BlockingPeer | None:
        return None if self.is_cut else BlockingPeer(self._rooms.open(room, session))

    def socket(self, room: str) -> Mapping[str, Any]:
        """There is no tab, and so no socket."""
        return {}

    def list_rooms(self) -> list[RoomEntry]:
        self._check()
        return self.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self._check()
        self.hub.delete_room_and_wait(room)

    def _check(self) -> None:
        if self.is_cut:
            raise HubNotRunningError()
