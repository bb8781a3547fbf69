"""`room.saved`, `unsaved_count` and `flush`: no edit counts as saved before it is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import crdt_sync
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


def test_S5_an_edit_counts_as_saved_only_once_its_push_is_answered() -> None:
    peer = ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(peer))
    binding.attach()
    assert binding.unsaved_count == 0
    binding.replica.set("a", 1)
    binding.replica.set("b", 1)
    assert binding.unsaved_count == 2
    peer.answers[0].set_result(None)
    assert binding.unsaved_count == 1
    assert not binding.flush(0.01)
    peer.answers[1].set_result(None)
    assert binding.unsaved_count == 0
    assert binding.flush(0)


def test_S5_flush_returns_as_soon_as_the_answer_is_there() -> None:
    peer = ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(peer))
    binding.attach()
    binding.replica.set("a", 1)
    flushed: list[bool] = []
    waiting = threading.Thread(target=lambda: flushed.append(binding.flush(30)), daemon=True)
    waiting.start()
    peer.answers[0].set_result(None)
    waiting.join(5)
    assert flushed == [True]


def test_S5_an_edit_that_the_room_did_not_take_stays_unsaved_until_the_next_room_took_it() -> None:
    first, second = ScriptedPeer(), ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(first, second))
    binding.attach()
    binding.replica.set("a", 1)
    first.answers[0].set_exception(HubNotRunningError())
    assert binding.unsaved_count == 1
    assert not binding.flush(30)  # with nobody to take it, waiting is of no use
    binding.replica.set("b", 2)
    binding.attach()
    assert binding.unsaved_count == 2
    second.answers[0].set_result(None)
    assert binding.unsaved_count == 0
    copy = Replica()
    copy.apply(second.updates[0])
    assert (copy.get("a"), copy.get("b")) == (1, 2)


def test_S5_a_later_edit_that_was_saved_does_not_vouch_for_an_earlier_one_that_failed() -> None:
    saving, failed, done = UnsavedEdits(), Future[None](), Future[None]()
    saving.add(1, ["a"])
    saving.mark_pushed(range(1, 2), failed)
    saving.add(2, ["b"])
    failed.set_exception(HubNotRunningError())
    saving.mark_pushed(range(2, 3), done)
    done.set_result(None)
    assert saving.keys() == ["a"]


def test_S5_an_edit_that_a_full_room_refuses_stays_unsaved_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(peer))
    binding.attach()
    for number in range(3):
        binding.replica.set("a", number)
        peer.answers[-1].set_exception(RoomFullError("r", 1000))
    binding.attach()
    assert (binding.status, binding.unsaved_count, len(peer.updates)) == ("connected", 3, 3)
    assert len(caplog.records) == 1


def test_S5_what_came_from_the_tab_is_not_counted_as_an_edit_of_the_script() -> None:
    peer = ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(peer))
    binding.attach()
    other = Replica()
    other.set("a", 1)
    binding.replica.apply(other.diff(), origin=TAB)
    assert (len(peer.updates), binding.unsaved_count) == (1, 0)


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


def test_S5_flush_pushes_what_the_script_has_assigned_so_far(room: str) -> None:
    one = AppTest.from_function(app, kwargs={"room": room}).run()
    one.button[0].click().run()
    assert not one.exception
    before, *after = one.session_state["crdt-private:seen"]
    assert before in (0, 1)  # the room may have been faster
    assert after == [True, True, 0]


def test_in_no_room_nothing_is_ever_saved() -> None:
    room = crdt_sync(None)
    assert (room.saved, room.unsaved_count, room.flush()) == (False, 0, False)
    room.status_badge()


def shows_saving(room: str, role: str = "editor") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    joined = crdt_sync(room, role=role, server="ws://127.0.0.1:9")  # type: ignore[arg-type]
    st.slider("moved", key="moved")
    st.slider("untouched")
    if st.button("assign"):
        st.session_state["plain"] = 1
        st.session_state["unshareable"] = object()
    st.session_state["crdt-private:seen"] = (joined.saved, joined.unsaved_count, joined.flush(0.01))


def test_S4_nothing_counts_as_saved_while_the_rooms_content_is_not_here(room: str) -> None:
    one = AppTest.from_function(shows_saving, kwargs={"room": room}).run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)  # nothing was edited
    one.slider[0].set_value(7).run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)
    one.button[0].click().run()
    assert one.session_state["crdt-private:seen"] == (False, 2, False)
    one.slider[0].set_value(0).run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)


def test_A1_a_viewer_has_nothing_to_save_where_the_rooms_content_is_not_here(room: str) -> None:
    one = AppTest.from_function(shows_saving, kwargs={"room": room, "role": "viewer"}).run()
    one.slider[0].set_value(7).run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)


def test_S4_what_waited_for_the_rooms_content_is_saved_once_it_is_pushed(room: str) -> None:
    one = AppTest.from_function(shows_saving, kwargs={"room": room}).run()
    one.slider[0].set_value(7).run()
    tab = Tab(room)
    tab.frame()
    one.run()
    assert one.session_state["crdt-private:seen"] == (False, 1, False)
    tab.frame()
    one.run()
    assert one.session_state["crdt-private:seen"] == (True, 0, True)


class Tab:
    """A tab that is connected, and whose server commits at once."""

    def __init__(self, room: str) -> None:
        self.binding = next(
            live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions
        )
        self.sent = 0

    def frame(self) -> bool:
        """Answer the session's newest frame; return whether its script must run."""
        self.sent += 1
        said = decode_frame(self.binding.frame())
        report = {"why": "saved", "status": "connected", "synced": True, "n": self.sent, "saved_v": said.v}
        frame = Frame(id=77, v=self.sent, ack_of=said.id, ack=said.v, build=said.build, extra=report)
        return self.binding.receive(frame, read_report(frame), None)


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
def test_P4_a_script_that_shows_what_is_saved_and_assigns_on_each_run_comes_to_rest(
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


def test_P4_a_change_of_what_the_script_has_shown_is_worth_one_run(room: str) -> None:
    one = AppTest.from_function(shows_saving, kwargs={"room": room}).run()
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


def refused_edits(binding: RoomSession) -> object:
    return decode_frame(binding.frame()).extra["refused_edits"]


@pytest.mark.parametrize("refusal", [RoomFullError("r", 1000), UpdateRefusedError("it is malformed")])
def test_S5_a_refused_edit_is_told_to_the_tab_until_a_later_push_holds_it(refusal: Exception) -> None:
    first, second = ScriptedPeer(), ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(first, second))
    binding.attach()
    binding.replica.set("a", 1)
    assert refused_edits(binding) == 0
    first.answers[0].set_exception(refusal)
    assert (refused_edits(binding), binding.unsaved_count) == (1, 1)
    first.is_closed = True
    binding.attach()
    assert refused_edits(binding) == 0


def test_S5_an_edit_that_a_stopped_room_did_not_take_is_not_refused() -> None:
    peer = ScriptedPeer()
    binding = RoomSession("r", ScriptedBackend(peer))
    binding.attach()
    binding.replica.set("a", 1)
    peer.answers[0].set_exception(HubNotRunningError())
    assert (refused_edits(binding), binding.unsaved_count) == (0, 1)
