"""`room.saved`, `unsaved_count` and `flush`: save status of a session's edits (rules S4, S5)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import crdt_sync
from streamlit_crdt.document.edits import LocalEdit
from streamlit_crdt.document.replica import TAB, Replica
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.transport.frame import Frame, decode_frame, read_report
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import HubNotRunningError, RoomFullError, UpdateRefusedError
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def test_S5_edit_is_unsaved_until_its_push_completes() -> None:
    peer = ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(peer))
    room_session.attach()
    assert room_session.unsaved_count == 0
    room_session.replica.set("a", 1)
    room_session.replica.set("b", 1)
    assert room_session.unsaved_count == 2
    peer.answers[0].set_result(None)
    assert room_session.unsaved_count == 1
    assert not room_session.flush(0.01)
    peer.answers[1].set_result(None)
    assert room_session.unsaved_count == 0
    assert room_session.flush(0)


def test_S5_flush_returns_when_the_push_completes() -> None:
    peer = ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(peer))
    room_session.attach()
    room_session.replica.set("a", 1)
    flushed: list[bool] = []
    waiting = threading.Thread(target=lambda: flushed.append(room_session.flush(30)), daemon=True)
    waiting.start()
    peer.answers[0].set_result(None)
    waiting.join(5)
    assert flushed == [True]


def test_S5_edit_of_a_failed_push_is_unsaved_until_a_later_push_completes() -> None:
    first, second = ScriptedPeer(), ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(first, second))
    room_session.attach()
    room_session.replica.set("a", 1)
    first.answers[0].set_exception(HubNotRunningError())
    assert room_session.unsaved_count == 1
    assert not room_session.flush(30)  # returns at once: no push is in progress
    room_session.replica.set("b", 2)
    room_session.attach()
    assert room_session.unsaved_count == 2
    second.answers[0].set_result(None)
    assert room_session.unsaved_count == 0
    copy = Replica()
    copy.apply(second.updates[0])
    assert (copy.get("a"), copy.get("b")) == (1, 2)


def test_S5_saved_later_edit_leaves_a_failed_earlier_edit_unsaved() -> None:
    unsaved, failed, done = UnsavedEdits(), Future[None](), Future[None]()
    unsaved.add(1, [LocalEdit("set", "a")])
    unsaved.mark_pushed(range(1, 2), failed)
    unsaved.add(2, [LocalEdit("set", "b")])
    failed.set_exception(HubNotRunningError())
    unsaved.mark_pushed(range(2, 3), done)
    done.set_result(None)
    assert unsaved.keys() == ["a"]


def test_S5_edit_rejected_by_a_full_room_stays_unsaved_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(peer))
    room_session.attach()
    for number in range(3):
        room_session.replica.set("a", number)
        peer.answers[-1].set_exception(RoomFullError("r", 1000))
    room_session.attach()
    assert (room_session.status, room_session.unsaved_count, len(peer.updates)) == ("connected", 3, 3)
    assert len(caplog.records) == 1


def test_S5_update_of_the_tab_does_not_count_as_unsaved() -> None:
    peer = ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(peer))
    room_session.attach()
    other = Replica()
    other.set("a", 1)
    room_session.replica.apply(other.diff(), origin=TAB)
    assert (len(peer.updates), room_session.unsaved_count) == (1, 0)


def app(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room) as joined:
        if st.button("go"):
            st.session_state["a"] = 1
            before = joined.unsaved_count
            flushed = joined.flush()
            st.session_state["crdt-private:seen"] = (before, flushed, joined.saved, joined.unsaved_count)
            assert joined.state["a"] == 1
        joined.status_badge()
        joined.status_badge()


def test_S5_flush_pushes_the_values_that_the_script_has_assigned(room: str) -> None:
    one = AppTest.from_function(app, kwargs={"room": room}).run()
    one.button[0].click().run()
    assert not one.exception
    before, *after = one.session_state["crdt-private:seen"]
    assert before in (0, 1)  # 0 if the room saved it before the read
    assert after == [True, True, 0]


def test_outside_of_a_room_no_edit_is_saved() -> None:
    room = crdt_sync(None)
    assert (room.saved, room.unsaved_count, room.flush()) == (False, 0, False)
    room.status_badge()


def shows_save_status(room: str, role: str = "editor") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    joined = crdt_sync(room, role=role, server="ws://127.0.0.1:9")  # type: ignore[arg-type]
    st.slider("moved", key="moved")
    st.slider("untouched")
    if st.button("assign"):
        st.session_state["plain"] = 1
        st.session_state["unshareable"] = object()
    st.session_state["crdt-private:seen"] = (joined.saved, joined.unsaved_count, joined.flush(0.01))


def test_S4_edits_before_the_first_sync_are_unsaved(room: str) -> None:
    one = AppTest.from_function(shows_save_status, kwargs={"room": room}).run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)  # nothing was edited
    one.slider[0].set_value(7).run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)
    one.button[0].click().run()
    assert one.session_state["crdt-private:seen"] == (False, 2, False)
    one.slider[0].set_value(0).run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)


def test_A1_viewer_has_no_unsaved_edits_before_the_first_sync(room: str) -> None:
    one = AppTest.from_function(shows_save_status, kwargs={"room": room, "role": "viewer"}).run()
    one.slider[0].set_value(7).run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)


def test_S4_edits_before_the_first_sync_are_saved_after_their_push(room: str) -> None:
    one = AppTest.from_function(shows_save_status, kwargs={"room": room}).run()
    one.slider[0].set_value(7).run()
    tab = Tab(room)
    tab.frame()
    one.run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)
    tab.frame()
    one.run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)


class Tab:
    """Connected tab whose server commits every update at once."""

    def __init__(self, room: str) -> None:
        self.room_session = next(
            live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions
        )
        self.sent = 0

    def frame(self) -> bool:
        """Acknowledge the session's newest frame as saved. Return whether the script must run."""
        self.sent += 1
        received = decode_frame(self.room_session.tab.frame())
        report = {
            "why": "saved",
            "status": "connected",
            "synced": True,
            "n": self.sent,
            "saved_v": received.v,
        }
        frame = Frame(
            id=77, v=self.sent, ack_of=received.id, ack=received.v, build=received.build, extra=report
        )
        return self.room_session.receive(frame, read_report(frame), None)


def assigns_on_each_run(room: str) -> None:
    import time

    import streamlit as st

    from streamlit_crdt import crdt_sync

    joined = crdt_sync(room, server="ws://127.0.0.1:9")
    st.slider("moved", key="moved")
    st.session_state["now"] = time.time()
    assert joined.saved in (True, False)


def assigns_after_reading(room: str) -> None:
    import time

    import streamlit as st

    from streamlit_crdt import crdt_sync

    joined = crdt_sync(room, server="ws://127.0.0.1:9")
    st.slider("moved", key="moved")
    assert joined.unsaved_count >= 0
    st.session_state["now"] = time.time()


@pytest.mark.parametrize("app", [assigns_on_each_run, assigns_after_reading])
def test_P4_script_that_reads_saved_and_assigns_in_each_run_comes_to_rest(
    room: str, app: Callable[..., None]
) -> None:
    one = AppTest.from_function(app, kwargs={"room": room}).run()
    tab = Tab(room)
    tab.frame()
    for move in (1, 2):
        one.slider[0].set_value(move).run()
        runs = 0
        while tab.frame():
            runs += 1
            assert runs < 4
            one.run()


def test_P4_changed_save_status_causes_one_run(room: str) -> None:
    one = AppTest.from_function(shows_save_status, kwargs={"room": room}).run()
    tab = Tab(room)
    tab.frame()
    one.run()
    assert not tab.frame()
    one.slider[0].set_value(7).run()
    assert one.session_state["crdt-private:seen"][:2] == (False, 1)
    assert tab.frame()
    one.run()
    assert one.session_state["crdt-private:seen"][:2] == (True, 0)
    assert not tab.frame()


def refused_edits(room_session: RoomSession) -> object:
    return decode_frame(room_session.tab.frame()).extra["refused_edits"]


@pytest.mark.parametrize("refusal", [RoomFullError("r", 1000), UpdateRefusedError("it is malformed")])
def test_S5_frame_counts_a_rejected_edit_until_a_later_push_contains_it(refusal: Exception) -> None:
    first, second = ScriptedPeer(), ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(first, second))
    room_session.attach()
    room_session.replica.set("a", 1)
    assert refused_edits(room_session) == 0
    first.answers[0].set_exception(refusal)
    assert (refused_edits(room_session), room_session.unsaved_count) == (1, 1)
    first.is_closed = True
    room_session.attach()
    assert refused_edits(room_session) == 0


def test_S5_edit_of_a_stopped_room_is_unsaved_but_not_rejected() -> None:
    peer = ScriptedPeer()
    room_session = RoomSession("r", ScriptedBackend(peer))
    room_session.attach()
    room_session.replica.set("a", 1)
    peer.answers[0].set_exception(HubNotRunningError())
    assert (refused_edits(room_session), room_session.unsaved_count) == (0, 1)
