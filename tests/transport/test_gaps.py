"""Sessions whose replica lacks updates: they ask the room in their process, and their tab (rule S6)."""

from __future__ import annotations

import logging

import pytest

from streamlit_crdt.document.replica import TAB, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Frame, StatusReport, decode_frame
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.update_order import MAX_PENDING_BYTES
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Tab:
    """A tab, as `frontend/src/transport/channel.ts`: it sends everything after the version that the session states."""

    def __init__(self, session: RoomConnection) -> None:
        self.replica = Replica()
        self.version = 1
        self._session = session
        self._acked = 0
        self._vector: bytes | None = None

    def send(self, update: bytes = b"") -> Frame:
        """Send a frame with `update`, which the tab has applied, and receive the session's frame."""
        self.version += 1
        self.replica.apply(update, origin=TAB)
        frame = Frame(
            id=self.replica.replica_id,
            v=self.version,
            since=self._acked,
            ack_of=self._session.channel.id,
            update=update if self._acked else self.replica.diff(self._vector),
        )
        try:
            self._session.receive(frame, StatusReport())
        finally:
            answer = decode_frame(self._session.channel.frame())
            self._acked = answer.ack
            self._vector = answer.sv or self._vector
        return answer


def room_with(count: int, size: int = 1) -> tuple[Replica, list[bytes]]:
    """Return a room and its updates, each of which depends on the earlier ones."""
    room, updates = Replica(), list[bytes]()
    room.subscribe(lambda update, _: updates.append(update))
    for number in range(count):
        room.set(f"k{number}", "x" * size)
    return room, updates


def local_session(clock: Clock) -> tuple[RoomConnection, ScriptedPeer]:
    peer = ScriptedPeer()
    session = RoomConnection("r", ScriptedBackend(peer), clock=clock)
    session.attach()
    return session, peer


def remote_session(clock: Clock) -> tuple[RoomConnection, Tab]:
    session = RoomConnection("r", ScriptedBackend(), clock=clock)
    tab = Tab(session)
    assert tab.send().ack == tab.version
    return session, tab


def drain(session: RoomConnection, peer: ScriptedPeer, update: bytes | None = None) -> None:
    peer.received = update
    session.drain()


def test_S6_session_asks_its_room_for_what_an_update_depends_on() -> None:
    clock = Clock()
    session, peer = local_session(clock)
    room, (_, second) = room_with(2)
    drain(session, peer, second)
    assert (session.replica.keys(), peer.states, session.wake_s) == ([], [], 1.0)
    clock.now = 1.0
    drain(session, peer)
    (state,) = peer.states
    state.set_result(room.diff())
    drain(session, peer)
    assert session.replica.keys() == ["k0", "k1"]
    clock.now = 60.0
    drain(session, peer)
    assert (len(peer.states), session.wake_s) == (1, None)


def test_S6_session_that_refused_too_many_pending_updates_loses_none() -> None:
    clock = Clock()
    session, peer = local_session(clock)
    room, (_, *others) = room_with(MAX_PENDING_BYTES // 100_000 + 2, size=100_000)
    for update in others:
        drain(session, peer, update)
    assert session.replica.oldest_pending is None, "nothing was refused"
    clock.now = 1.0
    drain(session, peer)
    (state,) = peer.states
    state.set_result(room.diff())
    drain(session, peer)
    assert session.replica.keys() == room.keys()
    assert session.wake_s is None


def test_N3_state_that_a_session_refuses_is_requested_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    clock = Clock()
    session, peer = local_session(clock)
    for _ in range(200):
        drain(session, peer, b"junk")
        if peer.states and not peer.states[-1].done():
            peer.states[-1].set_result(b"junk")
        clock.now += 5.0
    assert 2 <= len(peer.states) <= 10  # 2 to the power of 10 seconds
    assert session.wake_s is None


def test_S6_session_asks_its_tab_for_what_an_update_depends_on() -> None:
    clock = Clock()
    session, tab = remote_session(clock)
    room, (_, second) = room_with(2)
    assert tab.send(second).ack == tab.version
    tab.replica.apply(room.diff())  # the session was not sent it
    assert (session.replica.keys(), session.wake_s) == ([], 1.0)
    clock.now = 1.0
    asked = tab.send()
    assert (asked.ack, asked.sv) == (0, session.replica.state_vector())
    answered = tab.send()
    assert session.replica.keys() == ["k0", "k1"]
    assert (answered.ack, answered.sv, session.wake_s) == (tab.version, None, None)


def test_S6_pending_updates_of_acknowledged_frames_survive_a_refusal() -> None:
    session, tab = remote_session(Clock())
    room, (_, *others) = room_with(MAX_PENDING_BYTES // 100_000 + 2, size=100_000)
    with pytest.raises(UpdateRefusedError):
        for update in others[:-1]:
            tab.send(update)
            assert session.replica.oldest_pending is not None
        tab.replica = Replica(replica_id=tab.replica.replica_id)  # so that it has room for the last one
        tab.send(others[-1])
    tab.replica.apply(room.diff())
    tab.send()
    assert session.replica.keys() == room.keys()


def test_S6_replaced_replica_has_no_gap() -> None:
    clock = Clock()
    session, peer = local_session(clock)
    _, (_, second) = room_with(2)
    drain(session, peer, second)
    session.reset()
    assert session.wake_s is None
    assert session.replica.diff() == EMPTY_UPDATE
