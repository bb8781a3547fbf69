"""Reruns of an app's own fragments, which do not call `crdt_sync`."""

from __future__ import annotations

import uuid

import pytest

from streamlit_crdt import _compat
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, run_fragment, session, settle


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def hiding(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync, private_key

    @st.fragment
    def panel() -> None:
        if st.toggle("more", key=private_key("more")):
            st.slider("inside", key="inside")
            st.slider("unkeyed inside")

    if not _compat.current_run().fragments:
        crdt_sync(room)
    panel()


def test_P3_widget_hidden_by_fragment_returns_with_room_value(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = session(hiding, room), session(hiding, room)
    for each in (one, two):
        each.toggle[0].set_value(True).run()
    one.slider[0].set_value(7)
    one.slider[1].set_value(8).run()
    caught_up(two)
    for is_visible in (False, True):
        one.toggle[0].set_value(is_visible)
        run_fragment(one, monkeypatch)
    assert [slider.value for slider in one.slider] == [7, 8]
    caught_up(two)
    assert [slider.value for slider in two.slider] == [7, 8]
    one.run()
    assert [slider.value for slider in one.slider] == [7, 8]


def test_P3_unchanged_hidden_widget_returns_with_its_default(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session(hiding, room)
    one.toggle[0].set_value(True).run()
    for is_visible in (False, True):
        one.toggle[0].set_value(is_visible)
        run_fragment(one, monkeypatch)
    assert [slider.value for slider in one.slider] == [0, 0]
    room_session = next(one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions)
    assert list(room_session.replica) == []


def two_parts(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    @st.fragment
    def panel() -> None:
        st.slider("inside", key="inside")
        st.write(str(st.session_state.get("outside")))

    is_full = not _compat.current_run().fragments
    if is_full:
        crdt_sync(room)
    panel()
    if is_full:
        st.slider("outside", key="outside")


def test_outer_edit_in_fragment_client_state_is_shared_and_read(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one, two = session(two_parts, room), session(two_parts, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4)
    run_fragment(one, monkeypatch)
    assert requested == [None]
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4]


def test_edit_inside_fragment_requests_no_further_run(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one, two = session(two_parts, room), session(two_parts, room)
    one.slider[0].set_value(3)
    run_fragment(one, monkeypatch)
    assert requested == []
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 0]


def test_P1_fragment_reads_value_in_flight(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one, two = session(two_parts, room), session(two_parts, room)
    two.slider[0].set_value(5)
    two.slider[1].set_value(6).run()
    with monkeypatch.context() as patch:
        patch.setattr(
            "streamlit_crdt.binding.in_flight.close_all", lambda _keys: None
        )  # as with a real browser
        caught_up(one)
    for slider in one.slider:
        slider.set_value(0)  # an echo
    run_fragment(one, monkeypatch)
    assert (one.slider[0].value, one.markdown[0].value) == (5, "6")
    assert requested == []
    caught_up(two)
    assert [slider.value for slider in two.slider] == [5, 6]


def test_frame_in_other_fragment_client_state_is_acknowledged(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one = session(two_parts, room)
    room_session = next(one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions)
    room_session.tab.channel_fragment = "channel"
    room_session.tab.is_frame_due = True
    run_fragment(one, monkeypatch)
    assert requested == ["channel"]
    room_session.tab.frame()
    run_fragment(one, monkeypatch)
    assert requested == ["channel"]
    assert _compat.current_run() is None


def inside(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    @st.fragment
    def panel() -> None:
        crdt_sync(room)
        st.slider("inside", key="inside")

    panel()
    if not _compat.current_run().fragments:
        st.write(str(st.session_state.get("plain")))


def test_remote_value_written_by_fragment_reaches_rest_of_script(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one, two = session(inside, room), session(inside, room)
    two.slider[0].set_value(3).run()
    settle()
    run_fragment(one, monkeypatch)
    assert (one.slider[0].value, requested) == (3, [])
    two.session_state["plain"] = 5
    two.run()
    settle()
    run_fragment(one, monkeypatch)
    assert (one.session_state["plain"], requested) == (5, [None])
    run_fragment(one, monkeypatch)
    assert requested == [None]


def test_due_full_run_stays_due_after_fragment_calls_crdt_sync(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    one = session(inside, room)
    room_session = next(one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions)
    room_session.request_full_run()
    run_fragment(one, monkeypatch)
    assert requested == [None]
