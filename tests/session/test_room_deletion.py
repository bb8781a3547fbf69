"""Deletion of a room while sessions are in it: they keep their values, and a new room of the name gets none of them."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.backend import backend
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import decode_frame, read_report
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def app(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("moved", key="moved")
    if st.button("assign"):
        st.session_state["plain"] = 1
    st.write(str(st.session_state.get("plain")))


def delete(room: str) -> None:
    hub = backend.find(None).hub  # type: ignore[attr-defined]
    assert hub.loop is not None
    asyncio.run_coroutine_threadsafe(hub.delete_room(name=room), hub.loop).result(10)


def flush(room: str) -> None:
    for one in registry.sessions():
        if room in one.room_sessions:
            assert one.room_sessions[room].flush(timeout_s=30)


def session(room: str) -> AppTest:
    return AppTest.from_function(app, kwargs={"room": room}).run()


def values(app: AppTest) -> tuple[int, int | None]:
    return app.slider[0].value, app.session_state["plain"] if "plain" in app.session_state else None  # noqa: SIM401


def in_deleted_room(room: str) -> tuple[AppTest, AppTest]:
    """Return two sessions in a deleted room. Both have the edits of the first one."""
    one, two = session(room), session(room)
    one.slider[0].set_value(7)
    one.button[0].click().run()
    flush(room)
    two.run()
    delete(room)
    return one, two


def test_sessions_in_deleted_room_keep_their_values(room: str) -> None:
    one, two = in_deleted_room(room)
    for app in (one, two):
        assert values(app.run()) == (7, 1)
    one.slider[0].set_value(8).run()
    for app, expected in ((one, (8, 1)), (two, (7, 1))):
        assert values(app.run()) == expected
        assert not app.exception
    assert values(session(room)) == (0, None)


def test_deleted_room_is_offline_and_unsaved(room: str) -> None:
    one, _two = in_deleted_room(room)
    room_session = next(one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions)
    assert room_session.status == "offline"
    one.slider[0].set_value(8).run()
    assert (room_session.status, room_session.saved, room_session.flush(timeout_s=0.1)) == (
        "offline",
        False,
        False,
    )
    header = decode_frame(room_session.tab.frame()).extra
    assert (header["deleted"], header["socket"], header["poll_s"]) == (True, None, None)


def test_deleted_room_and_new_room_share_no_value(room: str) -> None:
    one, two = in_deleted_room(room)
    new = session(room)
    new.slider[0].set_value(3).run()
    flush_newest(new, room)
    for _ in range(2):
        one.slider[0].set_value(9)
        one.button[0].click().run()
        assert values(two.run()) == (7, 1)
        assert values(new.run()) == (3, None)


def flush_newest(app: AppTest, room: str) -> None:
    """Wait until the newest session's edits are saved. Older sessions are in the deleted room."""
    newest = [one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions][-1]
    assert newest.flush(timeout_s=30)


def enters_and_leaves(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, rooms

    st.button("enter", on_click=rooms.enter_room, args=(room,))
    st.button("exit", on_click=rooms.exit_room)

    def reenter() -> None:
        rooms.exit_room()
        rooms.enter_room(room)

    st.button("reenter", on_click=reenter)
    st.button("delete", on_click=rooms.delete_room, args=(room,))
    with crdt_sync(rooms.current_room()):
        st.slider("moved", key="moved")
        st.slider("unkeyed")
        if st.button("assign"):
            st.session_state["plain"] = 1


def click(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


@pytest.mark.parametrize("labels", [["exit", "enter"], ["reenter"]], ids=["exit, enter", "reenter"])
def test_session_reentering_deleted_room_starts_over(room: str, labels: list[str]) -> None:
    one = click(AppTest.from_function(enters_and_leaves, kwargs={"room": room}).run(), "enter")
    for slider in one.slider:
        slider.set_value(7).run()
    click(one, "assign")
    flush(room)
    delete(room)
    assert (values(one.run()), one.slider[1].value) == ((7, 1), 7)
    for label in labels:
        click(one, label)
    late = session(room)
    late.slider[0].set_value(2).run()
    flush(room)
    for app in (one.run(), late.run(), one.run()):
        assert values(app) == (2, None)
    assert one.slider[1].value == 0


def test_session_that_left_before_deletion_enters_new_room(room: str) -> None:
    one = click(AppTest.from_function(enters_and_leaves, kwargs={"room": room}).run(), "enter")
    one.slider[0].set_value(7).run()
    click(one, "assign")
    click(one, "exit")
    delete(room)
    assert values(click(one, "enter")) == (0, None)
    assert values(session(room)) == (0, None)


def test_session_that_deletes_room_leaves_it(room: str) -> None:
    one = click(AppTest.from_function(enters_and_leaves, kwargs={"room": room}).run(), "enter")
    two = session(room)
    one.slider[0].set_value(7).run()
    flush(room)
    assert values(two.run()) == (7, None)
    click(one, "delete")
    assert values(one) == (0, None)
    assert values(two.run()) == (7, None)
    assert values(click(one, "enter")) == (0, None)


def test_session_away_during_deletion_does_not_join_new_room() -> None:
    first, second = ScriptedPeer("1" * 32), ScriptedPeer("2" * 32)
    room_session = RoomSession("r", ScriptedBackend(first, second))
    room_session.attach()
    room_session.replica.set("a", 1)
    room_session.detach()
    room_session.attach()
    room_session.replica.set("b", 1)
    assert (second.is_closed, second.updates, dict(room_session.replica.items())) == (
        True,
        [],
        {"a": 1, "b": 1},
    )


def test_session_marks_room_deleted_on_report_of_its_tab() -> None:
    room_session = RoomSession("r", ScriptedBackend())
    tab = Replica()
    channel = Channel(tab, build="b")
    report = {"why": "status", "status": "offline", "synced": True, "error": "other-epoch", "n": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamlit.session_state", AppTest.from_function(enters_and_leaves).session_state)
        frame = decode_frame(channel.frame(**report, saved_v=0, unsaved=0))
        room_session.receive(frame, read_report(frame), None)
    assert (room_session.connection.is_deleted, room_session.status) == (True, "offline")


def test_deletion_reported_after_offline_status_requests_a_run() -> None:
    room_session = RoomSession("r", ScriptedBackend(ScriptedPeer("1" * 32)))
    room_session.attach()
    room_session.tab.status_read = room_session.status
    channel = Channel(Replica(), build="b")
    offline = {"why": "status", "status": "offline", "synced": True, "saved_v": 0, "unsaved": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamlit.session_state", AppTest.from_function(enters_and_leaves).session_state)
        needs_run = [
            room_session.receive(frame, read_report(frame), None)
            for frame in (
                decode_frame(channel.frame(**offline, n=1)),
                decode_frame(channel.frame(**offline, n=2, error="other-epoch")),
            )
        ]
    assert needs_run == [False, True]


def test_deleted_room_is_logged_once_per_session(room: str, caplog: pytest.LogCaptureFixture) -> None:
    one, _two = in_deleted_room(room)
    for _ in range(3):
        one.run()
    assert sum("was deleted; this session keeps its values" in line for line in caplog.messages) == 1
