"""Local connection of a session, used by several threads at the same time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.testing.network import BlockingPeer, MemoryServer, SimulatedNetwork
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.local_connection import LocalConnection
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import HubNotRunningError, KeyRing, LocalPeer
from streamlit_crdt_server.rewriting import RoomPast
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer

DEADLINE_S = 60.0


class Peer:
    """Peer whose pushes complete when the test completes them."""

    epoch = "a" * 32
    replica_ids = None
    past = RoomPast()

    def __init__(self) -> None:
        self.is_closed = False
        self.was_deleted = False
        self.pushed: list[Future[None]] = []

    def push(self, update: bytes) -> Future[None]:
        self.pushed.append(Future())
        return self.pushed[-1]

    def close(self, *, for_good: bool = False) -> None:
        self.is_closed = True


class Backend:
    """Backend whose `open` blocks, as if the room's event loop were busy."""

    poll_s = None
    is_tab_only = False
    keys: KeyRing | None = None

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.is_opening = threading.Event()
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self, room: str, session_id: str) -> Any:
        self.is_opening.set()
        assert self.may_open.wait(DEADLINE_S)
        self.peers.append(Peer())
        return self.peers[-1]

    def socket_address(self, room: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def connection(backend: Backend) -> LocalConnection:
    """Return an open connection."""
    opened = LocalConnection("r", backend, "s1")
    opened.open()
    backend.is_opening.clear()
    return opened


def start_open(connection: LocalConnection, backend: Backend) -> threading.Thread:
    """Open the room in another thread, which then waits for the loop."""
    backend.may_open.clear()
    opening = threading.Thread(target=connection.open, daemon=True)
    opening.start()
    assert backend.is_opening.wait(DEADLINE_S)
    return opening


def ends_in_loop(task: Any) -> bool:
    """Run a task in a thread that plays the loop's. Return whether it ends during an open."""
    loop = threading.Thread(target=task, daemon=True)
    loop.start()
    loop.join(1.0)
    return not loop.is_alive()


class OpenDuringLog(logging.Handler):
    """Log handler that opens the room again when the failed push is logged."""

    def __init__(self, connection: LocalConnection, backend: Backend) -> None:
        super().__init__()
        self.connection = connection
        self.backend = backend
        self.opening: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.opening = self.opening or start_open(self.connection, self.backend)


def test_N2_failed_push_during_open_does_not_block_the_loop(
    connection: LocalConnection, backend: Backend
) -> None:
    (first,) = backend.peers
    connection.push(first, b"update", range(1), UnsavedEdits())  # type: ignore[arg-type]
    first.is_closed = True
    handler = OpenDuringLog(connection, backend)
    logging.getLogger("streamlit_crdt").addHandler(handler)
    try:
        assert ends_in_loop(lambda: first.pushed[0].set_exception(HubNotRunningError()))
    finally:
        logging.getLogger("streamlit_crdt").removeHandler(handler)
        backend.may_open.set()
    assert handler.opening is not None
    handler.opening.join(DEADLINE_S)
    assert connection.peer is backend.peers[1]
    assert not backend.peers[1].is_closed


def test_failed_push_closes_the_connection_and_the_next_open_succeeds(
    connection: LocalConnection, backend: Backend
) -> None:
    (first,) = backend.peers
    connection.push(first, b"update", range(1), UnsavedEdits())  # type: ignore[arg-type]
    first.pushed[0].set_exception(HubNotRunningError())
    assert first.is_closed
    assert connection.peer is None
    assert connection.open() is connection.peer is backend.peers[1]


def test_N2_close_during_open_does_not_block_and_discards_the_peer(backend: Backend) -> None:
    connection = LocalConnection("r", backend, "s1")
    opening = start_open(connection, backend)
    assert ends_in_loop(connection.close)
    backend.may_open.set()
    opening.join(DEADLINE_S)
    assert connection.peer is None
    assert backend.peers[0].is_closed
    assert connection.open() is backend.peers[1]


def test_S6_session_pushes_the_state_that_its_room_requests() -> None:
    peer = ScriptedPeer()
    connection = RoomConnection("r", ScriptedBackend(peer))
    connection.attach()
    connection.replica.set("a", 1)
    pushed = len(peer.updates)
    peer.requested_vector = b"\0"
    connection.drain()
    connection.drain()
    assert peer.updates[pushed:] == [connection.replica.diff()]
    connection.is_read_only = True
    peer.requested_vector = b"\0"
    connection.drain()
    assert len(peer.updates) == pushed + 1


class LossyPeer(BlockingPeer):
    """Peer that loses the next update on the way to its room, and waits for none."""

    loses_next = False

    def push(self, update: bytes) -> Future[None]:
        if self.loses_next:
            self.loses_next = False
            return Future()
        return self._peer.push(update)


class LossyBackend(SimulatedNetwork):
    def open(self, room: str, session_id: str | None = None) -> LossyPeer:
        return LossyPeer(self.hub.open_local(room, session=session_id, timeout_s=DEADLINE_S))


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


def entered(server: MemoryServer) -> tuple[RoomConnection, LossyPeer]:
    session = RoomConnection("r", LossyBackend(server))
    session.attach()
    peer = session.peer
    assert isinstance(peer, LossyPeer)
    return session, peer


def news_of(peer: LocalPeer) -> threading.Event:
    """Return the event that the peer has an update of another one."""
    has_update = threading.Event()
    peer.on_update = lambda: has_update.set() if peer.drain() else None
    return has_update


def test_S6_session_answers_its_room_without_a_further_run(server: MemoryServer) -> None:
    session, peer = entered(server)
    has_update = news_of(server.open("r"))
    peer.loses_next = True
    session.replica.set("a", 1)
    session.replica.set("b", 2)  # waits for the first one
    assert has_update.wait(DEADLINE_S)
    assert dict(server.replica("r").items()) == {"a": 1, "b": 2}


def test_S6_busy_session_does_not_block_the_loop_of_its_room(server: MemoryServer) -> None:
    session, peer = entered(server)
    other = server.open("r")
    is_requested, has_update = threading.Event(), news_of(other)
    answer = peer.on_request
    assert answer is not None
    peer.on_request = lambda: (answer(), is_requested.set())[1]
    peer.loses_next = True
    session.replica.set("a", 1)
    author = Replica()
    author.apply(session.replica.diff())
    vector = author.state_vector()
    author.set("a", 3)
    peer.push(author.diff(vector))
    with session.replica.transaction():
        assert is_requested.wait(DEADLINE_S)
        other.read_state().result(DEADLINE_S)  # the loop is free
        assert not has_update.is_set()
    assert has_update.wait(DEADLINE_S)
    assert dict(server.replica("r").items()) == {"a": 3}
