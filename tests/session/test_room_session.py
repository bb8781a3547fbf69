"""`RoomSession` and `Session` without a script."""

from __future__ import annotations

import logging
import threading
import uuid
from concurrent.futures import Future

import pytest

from streamlit_crdt._compat import run_context_of
from streamlit_crdt.backend.backend import RemoteBackend
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.session import Session
from streamlit_crdt.transport.frame import Frame, StatusReport
from streamlit_crdt_server import HubNotRunningError
from streamlit_crdt_server.rewriting import RoomPast
from tests.support.scripted_backend import ScriptedBackend


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


class Peer:
    """A peer that records pushed updates, or fails every push with `error`."""

    epoch = "0" * 32
    replica_ids = None
    past = RoomPast()
    is_closed = False
    was_deleted = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.pushed: list[bytes] = []

    def push(self, update: bytes) -> Future[None]:
        done: Future[None] = Future()
        if self.error is None:
            self.pushed.append(update)
            done.set_result(None)
        else:
            done.set_exception(self.error)
        return done

    def take_request(self) -> bytes | None:
        return None

    def drain(self) -> bytes | None:
        return None

    def close(self, *, for_good: bool = False) -> None:
        pass


def test_attach_after_a_rejected_push_sends_the_edit_again() -> None:
    second = Peer()
    room_session = RoomSession("r", ScriptedBackend(Peer(HubNotRunningError()), second))
    room_session.replica.set("x", 1)
    thread = threading.Thread(target=room_session.attach, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert room_session.status != "connected"
    room_session.attach()
    other = Replica()
    other.apply(second.pushed[0])
    assert other.get("x") == 1


def test_unreachable_room_is_logged_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    room_session = RoomSession("r", ScriptedBackend(HubNotRunningError()))
    with caplog.at_level(logging.WARNING):
        room_session.attach()
        room_session.attach()
    assert room_session.status != "connected"
    assert len(caplog.records) == 1


def test_parallel_fragment_does_not_wait_for_the_session_lock() -> None:
    class Ctx:
        session_id = "s"
        session_state = None
        cursors = ()
        script_requests = None

    session = Session("s")
    results: list[object] = []
    with session.lock:
        worker = threading.Thread(
            target=lambda: results.append(session.run_of(run_context_of(Ctx()))), daemon=True
        )
        worker.start()
        worker.join(5)
        assert results


def test_R4_room_session_stays_synced_while_its_tab_mounts_again(room: str) -> None:
    room_session = RoomSession(room, RemoteBackend("ws://127.0.0.1:9"))
    assert not room_session.synced
    room_session.connection.receive(Frame(id=77, v=0), StatusReport(synced=True, n=1))
    assert room_session.synced
    room_session.connection.receive(Frame(id=78, v=0), StatusReport())
    assert not room_session.connection.channel.is_synced
    assert room_session.synced
    assert not room_session.tab.should_hold()
