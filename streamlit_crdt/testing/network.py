"""Room server in memory, and the simulated network between it and one session.

The server has no socket: only sessions of this process enter its rooms. Each test has its own hub, so tests share no
rooms, and need neither a port nor a file. The network can be cut. While it is not cut, it has no delay.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Final, Self

from streamlit_crdt.backend.backend import ReplicaIds
from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import Hub, HubNotRunningError, KeyRing, LocalPeer, RoomEntry, Settings
from streamlit_crdt_server.rewriting import RoomPast

OPEN_TIMEOUT_S: Final = 10.0
"""Seconds to wait for the start of the hub's thread, and for a room to open, on a busy machine."""

PUSH_TIMEOUT_S: Final = 10.0
"""Seconds to wait for a push on a busy machine. After that, the test continues without its result."""


class MemoryServer:
    """A hub in a thread with its own event loop: `with MemoryServer() as server:`."""

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
        """Open a room. `session` is the id of the session that opens it, None for no session."""
        return self.hub.open_local(room, session=session, timeout_s=OPEN_TIMEOUT_S)

    def replica(self, room: str) -> Replica:
        """Return a new replica of the room's present content."""
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


class BlockingPeer:
    """A peer whose `push` returns after the room has sent the update to all other peers.

    A test can therefore run one session and then another without waiting for the room's thread.
    """

    def __init__(self, peer: LocalPeer) -> None:
        self._peer = peer

    @property
    def replica_ids(self) -> ReplicaIds | None:
        return self._peer.replica_ids

    @property
    def on_request(self) -> Callable[[], None] | None:
        return self._peer.on_request

    @on_request.setter
    def on_request(self, callback: Callable[[], None] | None) -> None:
        self._peer.on_request = callback

    @property
    def epoch(self) -> str:
        return self._peer.epoch

    @property
    def is_closed(self) -> bool:
        return self._peer.is_closed

    @property
    def past(self) -> RoomPast:
        return self._peer.past

    @property
    def was_deleted(self) -> bool:
        return self._peer.was_deleted

    def push(self, update: bytes) -> Future[None]:
        result = self._peer.push(update)
        wait([result], PUSH_TIMEOUT_S)
        return result

    def drain(self) -> bytes | None:
        return self._peer.drain()

    def read_state(self) -> Future[bytes]:
        return self._peer.read_state()

    def take_request(self) -> bytes | None:
        return self._peer.take_request()

    def close(self, *, for_good: bool = False) -> None:
        self._peer.close(for_good=for_good)


class SimulatedNetwork:
    """A `RoomBackend` of one session, with an interruptible network.

    Attributes:
        hub: hub of the rooms.
        is_cut: no room can be reached.
    """

    namespace: str = ""
    poll_s: float | None = None
    is_tab_only: bool = False
    keys: KeyRing | None = None

    def __init__(self, server: MemoryServer) -> None:
        self.hub = server.hub
        self.is_cut = False
        self._server = server

    def open(self, room: str, session_id: str | None = None) -> BlockingPeer | None:
        return None if self.is_cut else BlockingPeer(self._server.open(room, session_id))

    def socket_address(self, room: str) -> Mapping[str, Any]:
        """Return no address: a simulated session has no tab, and no socket."""
        return {}

    def list_rooms(self) -> list[RoomEntry]:
        self._require_network()
        return self.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self._require_network()
        self.hub.delete_room_and_wait(room)

    def _require_network(self) -> None:
        if self.is_cut:
            raise HubNotRunningError()
