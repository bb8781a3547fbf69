"""Combinations in one app: rooms, fragments, callbacks, forms and timers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Role
from streamlit_crdt.binding import StateBinding, form_drafts, in_flight
from streamlit_crdt.binding.widgets import ClientState, FormInfo, Widget
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.session.script_run import ScriptRun
from streamlit_crdt.session.session import Session
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.testing import sessions_of
from tests.support.app_sessions import run_fragment
from tests.support.binding_session import room_context


def session_of(app: AppTest) -> Session:
    session = registry.get(_compat.key_of_app_test(app))
    assert session is not None
    return session


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click()


@pytest.fixture
def by_timer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the client state of each fragment rerun one of a timer."""
    native = Session.receive_client_state

    def receive(self: Session, run: ScriptRun, *arguments: Any) -> frozenset[str]:
        stale = native(self, run, *arguments)
        if run.client_state is not None and run.context.fragments:
            run.client_state = dataclasses.replace(run.client_state, is_timers=True)
        return stale

    monkeypatch.setattr(Session, "receive_client_state", receive)
    yield


# --- rooms and fragments ------------------------------------------------------------------------------------


def switches_rooms_in_fragment() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    @st.fragment
    def panel() -> None:
        room = st.radio("room", ["A", "B"], key=private_key("room"))
        with crdt_sync(room):
            st.text_input("plan", key="plan")
            if st.button("stamp"):
                st.session_state["note"] = f"note of {room}"

    panel()


def test_fragment_switching_rooms_carries_no_value_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sessions_of(switches_rooms_in_fragment) as users:
        one, two = users
        two.radio[0].set_value("B").run()
        for user, room in ((one, "A"), (two, "B")):
            user.text_input[0].set_value(f"plan of {room}").run()
            press(user, "stamp").run()
        one.radio[0].set_value("B")
        run_fragment(one, monkeypatch)
        assert one.text_input[0].value == "plan of B"
        run_fragment(one, monkeypatch)
        one.run()
        for room in ("A", "B"):
            assert users.values_in(room) == {"plan": f"plan of {room}", "note": f"note of {room}"}


def fragment_partly_in_no_room() -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    @st.fragment
    def panel() -> None:
        st.slider("shared", key="shared")
        with crdt_sync(None):
            st.text_input("mine", key="mine")

    if not _compat.current_run().fragments:
        crdt_sync("A")
    panel()


def test_P8_widget_outside_rooms_stays_private_in_fragment_rerun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sessions_of(fragment_partly_in_no_room) as users:
        one = users[0]
        for text in ("one", "two"):
            one.text_input[0].set_value(text)
            run_fragment(one, monkeypatch)
            assert one.text_input[0].value == text
        assert users.values_in("A") == {}


def leaves_room_of_fragment() -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync, private_key

    @st.fragment
    def panel() -> None:
        st.text_input("x", key="x")

    join = st.toggle("join", key=private_key("join"), value=True)
    if _compat.current_run().fragments:
        panel()
    else:
        with crdt_sync("A" if join else None):
            panel()


def test_fragment_of_left_room_shares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sessions_of(leaves_room_of_fragment) as users:
        one = users[0]
        one.text_input[0].set_value("of the room").run()
        one.toggle[0].set_value(False).run()
        assert one.text_input[0].value == ""
        one.text_input[0].set_value("my own")
        run_fragment(one, monkeypatch)
        assert one.text_input[0].value == "my own"
        assert users.values_in("A") == {"x": "of the room"}


def deletes_room_in_fragment() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, rooms

    @st.fragment
    def panel() -> None:
        with crdt_sync("A"):
            st.text_input("t", key="t")
            if st.button("delete"):
                rooms.delete_room("A")

    panel()


def test_session_deleting_room_in_fragment_can_return(
    monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    with sessions_of(deletes_room_in_fragment, 1) as users:
        one = users[0]
        one.text_input[0].set_value("one").run()
        press(one, "delete")
        run_fragment(one, monkeypatch)
        assert requested == [None]
        one.run()
        one.text_input[0].set_value("two").run()
        assert users.values_in("A") == {"t": "two"}
        assert users.join().text_input[0].value == "two"


def has_fallback_without_room() -> None:
    import streamlit as st

    from streamlit_crdt import EntryForbiddenError, crdt_sync

    try:
        with crdt_sync("A"):
            st.text_input("x", key="x")
    except EntryForbiddenError:
        st.text_input("x", key="x")
    st.session_state.setdefault("n", 0)
    if st.button("more"):
        st.session_state.n += 1


def test_session_denied_a_room_keeps_later_values_private() -> None:
    roles: list[Role | None] = ["editor"]
    with sessions_of(has_fallback_without_room, 1, authorize=lambda _visitor: roles[-1]) as users:
        one = users[0]
        one.text_input[0].set_value("in the room").run()
        roles.append(None)
        one.run()
        assert one.text_input[0].value == ""
        one.text_input[0].set_value("my own").run()
        for _ in range(2):
            press(one, "more").run()
        assert (one.text_input[0].value, one.session_state["n"]) == ("my own", 2)


# --- callbacks ----------------------------------------------------------------------------------------------


def with_callbacks() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room = crdt_sync("A")
    st.text_area("text", key="text")
    st.number_input("n", key="n", value=0)

    def flush() -> None:
        st.session_state["flushed"] = (room.flush(), room.state["n"])

    st.button("undo", on_click=room.undo)
    st.button("clear", on_click=lambda: room.state.__setitem__("n", 0))
    st.button("flush", on_click=flush)


def test_undo_reverts_edit_in_same_client_state() -> None:
    with sessions_of(with_callbacks, 1) as users:
        one = users[0]
        one.number_input[0].set_value(1).run()
        one.text_area[0].set_value("typed")
        press(one, "undo").run()
        assert (one.text_area[0].value, one.number_input[0].value) == ("", 1)


def test_callback_write_overrides_edit_in_same_client_state() -> None:
    with sessions_of(with_callbacks, 1) as users:
        one = users[0]
        one.number_input[0].set_value(5)
        press(one, "clear").run()
        assert one.number_input[0].value == 0
        one.number_input[0].set_value(6)
        press(one, "flush").run()
        assert one.session_state["flushed"] == (True, 6)


def enters_room_in_callback() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def note() -> None:
        crdt_sync("log").state["last"] = "clicked"

    st.text_input("own", key="own")
    with crdt_sync("A"):
        st.text_input("x", key="x")
    st.button("note", on_click=note)


def test_P8_room_entered_in_callback_gets_no_widget() -> None:
    with sessions_of(enters_room_in_callback) as users:
        one = users[0]
        for text in ("mine", "mine too"):
            one.text_input[0].set_value(text)
            press(one, "note").run()
            assert one.text_input[0].value == text
        assert users.values_in("log") == {"last": "clicked"}


# --- timers -------------------------------------------------------------------------------------------------


def slider_in_timed_fragment() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    @st.fragment(run_every=1)
    def panel() -> None:
        with crdt_sync("A"):
            st.slider("x", key="x")

    panel()


@pytest.mark.usefixtures("requested", "by_timer")
def test_P1_timer_request_is_no_edit_in_room_of_fragment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_flight, "close_all", lambda _keys: None)  # as with a real browser
    with sessions_of(slider_in_timed_fragment) as users:
        one, two = users
        two.slider[0].set_value(7).run()
        one.run()
        for _ in range(2):
            one.slider[0].set_value(0)  # an echo
            run_fragment(one, monkeypatch)
            assert one.slider[0].value == 7
        assert users.values_in("A") == {"x": 7}


def clock_in_timed_fragment() -> None:
    import time

    import streamlit as st

    from streamlit_crdt import crdt_sync

    @st.fragment(run_every=1)
    def panel() -> None:
        with crdt_sync("A"):
            st.session_state["now"] = time.time()

    panel()


@pytest.mark.usefixtures("by_timer")
def test_P4_clock_in_timed_fragment_stops_causing_runs(
    monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    with sessions_of(clock_in_timed_fragment) as users:
        for _ in range(6):
            for user in users:
                requested.clear()
                run_fragment(user, monkeypatch)
                if None in requested:
                    session_of(user).note_remote_cause()  # the run has the cause of the timer's run
                    user.run()
        requested.clear()
        for user in users:
            run_fragment(user, monkeypatch)
        assert None not in requested


def reads_events() -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    @st.fragment
    def panel() -> None:
        with crdt_sync("A"):
            st.slider("x", key="x")

    if not _compat.current_run().fragments:
        room = crdt_sync("A")
        for event in room.events("hi"):
            st.toast(event.name)
        if st.button("hi"):
            room.broadcast("hi")
    panel()


@pytest.mark.usefixtures("requested")
def test_event_causes_run_after_fragment_rerun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sessions_of(reads_events) as users:
        one, two = users
        run_fragment(one, monkeypatch)
        press(two, "hi").run()
        room_session = session_of(one).room_sessions["A"]
        room_session.connection.drain()
        assert room_session.writer.has_news


def test_P7_submit_equal_to_leaked_draft_is_no_echo() -> None:
    field = Widget(
        "t",
        "$$ID-h-t",
        "number_input",
        True,
        lambda value: value,
        lambda value: value or 0,
        form=FormInfo("f"),
    )

    def sent(value: int) -> dict[str, bytes]:
        return {field.element_id: str(value).encode()}

    replica, state = Replica(), {"t": 1}
    replica.set("t", 1)
    binding = StateBinding(replica, room_context())

    def run(message: ClientState | None, submitted: set[str]) -> None:
        with binding.locked() as keys:
            form_drafts.receive(keys, {} if message is None else message.states, submitted)
        binding.push(state, message, is_synced=True, is_at_top=True)
        binding.begin_run()
        for write in binding.plan(state):
            binding.mark_written(write, state)
            state[write.key] = write.value
        binding.register(field, state["t"], is_assigned=False, is_in_browser=True)
        binding.end_run(is_complete=True)

    run(None, set())
    state["t"] = 2
    binding.push(
        state, ClientState(sent(2), frozenset(), sent(1), is_timers=True), is_synced=True, is_at_top=True
    )
    run(None, set())
    assert state["t"] == 1, "its form was not submitted"
    state["t"] = 2
    run(ClientState(sent(2), frozenset({"submit"}), sent(2)), {"f"})
    assert replica.get("t") == 2
