"""Roles and users in scripts run by AppTest: a viewer reads everything and writes nothing (A1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import RoleError, UserError, ViewOnlyError, crdt_sync
from streamlit_crdt.access.participant import MAX_CHARS, User, participant_for, random_guest
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.transport.frame import Frame, read_report
from tests.support.app_sessions import run_fragment


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def session(app: Callable[..., None], room: str, **kwargs: Any) -> AppTest:
    return AppTest.from_function(app, kwargs={"room": room, **kwargs}).run()


def caught_up(one: AppTest, room: str) -> AppTest:
    for live in registry.sessions():
        if room in live.room_sessions:
            assert live.room_sessions[room].flush(timeout_s=30)
    return one.run()


def board(room: str, role: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    calls = st.session_state.setdefault("crdt-private:calls", [])
    with crdt_sync(room, role=role, on_change=lambda: calls.append(1)) as joined:  # type: ignore[arg-type]
        st.slider("moved", key="moved")
        st.slider("untouched")
        if st.button("assign"):
            st.session_state["plain"] = role
            st.session_state["mine"] = role
        if st.button("delete"):
            st.session_state.pop("plain", None)

        @st.fragment
        def part() -> None:
            st.slider("inside", key="inside")

        part()
    st.write(joined.role, joined.saved, joined.unsaved_count)


def test_A1_viewer_reads_edits_of_editors(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    editor.slider[0].set_value(7)
    editor.button[0].click().run()
    caught_up(viewer, room)
    assert (viewer.slider[0].value, viewer.session_state["plain"]) == (7, "editor")
    assert viewer.markdown[0].value.startswith("viewer `True` `0`")


def test_A1_widget_moved_by_viewer_reverts_to_room_value(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    editor.slider[0].set_value(7).run()
    caught_up(viewer, room)
    for value in (9, 30, 7, 9):
        viewer.slider[0].set_value(value).run()
        assert viewer.slider[0].value == 7
    caught_up(editor, room)
    assert editor.slider[0].value == 7
    editor.slider[0].set_value(8).run()
    caught_up(viewer, room)
    assert viewer.slider[0].value == 8


def test_A1_widget_without_room_value_reverts_to_default(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    viewer.slider[1].set_value(40).run()
    assert viewer.slider[1].value == 0
    viewer.slider[1].set_value(41).run()
    assert viewer.slider[1].value == 0
    caught_up(editor, room)
    assert editor.slider[1].value == 0
    editor.slider[1].set_value(5).run()
    caught_up(viewer, room)
    assert viewer.slider[1].value == 5


def test_A1_assignments_of_viewers_script_stay_out_of_room(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    editor.button[0].click().run()
    caught_up(viewer, room)
    viewer.button[0].click().run()
    viewer.button[1].click().run()
    viewer.run()
    assert viewer.session_state["plain"] == "editor"
    caught_up(editor, room)
    assert (editor.session_state["plain"], editor.session_state["mine"]) == ("editor", "editor")


def test_A1_reverted_change_of_viewer_does_not_call_on_change(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    editor.slider[0].set_value(7).run()
    caught_up(viewer, room)
    assert len(viewer.session_state["crdt-private:calls"]) == 1
    viewer.slider[0].set_value(9).run()
    viewer.slider[1].set_value(9).run()
    assert len(viewer.session_state["crdt-private:calls"]) == 1


def test_role_change_during_session_takes_effect(room: str) -> None:
    def app(room: str) -> None:
        import streamlit as st

        from streamlit_crdt import crdt_sync, private_key

        role = st.radio("role", ["editor", "viewer"], key=private_key("role"))
        crdt_sync(room, role=role)
        st.slider("moved", key="moved")

    one, two = session(app, room), session(app, room)
    one.slider[0].set_value(3).run()
    one.radio[0].set_value("viewer").run()
    one.slider[0].set_value(4).run()
    assert one.slider[0].value == 3
    one.radio[0].set_value("editor").run()
    one.slider[0].set_value(5).run()
    caught_up(two, room)
    assert two.slider[0].value == 5


def test_A1_frame_of_viewers_tab_changes_nothing(room: str) -> None:
    session(board, room, role="viewer")
    room_session = next(
        live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions
    )
    foreign = Replica()
    foreign.set("moved", 99)
    frame = Frame(id=foreign.replica_id, v=1, update=foreign.diff())
    assert room_session.connection.is_read_only
    room_session.connection.receive(room_session.tab.without_viewer_update(frame), read_report(frame))
    assert "moved" not in room_session.replica
    editor = session(board, room, role="editor")
    assert editor.slider[0].value == 0


def assigns_on_each_run(room: str, role: str) -> None:
    import time

    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    if _compat.current_run().fragments:
        st.stop()  # this fragment renders nothing
    with crdt_sync(room, role=role):  # type: ignore[arg-type]
        st.session_state["refreshed_at"] = time.time()
        st.session_state["moved"] = 9 if role == "viewer" else 7
        st.slider("moved", key="moved")
        st.slider("other", key="other")


def viewers_room_session(room: str) -> RoomSession:
    bindings = [live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions]
    return next(room_session for room_session in bindings if room_session.participant.is_viewer)


def test_A1_assignment_in_each_run_requests_no_full_run(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None]
) -> None:
    session(assigns_on_each_run, room, role="editor")
    viewer = session(assigns_on_each_run, room, role="viewer")
    for _ in range(3):
        caught_up(viewer, room)
        run_fragment(viewer, monkeypatch, "part")
    assert requested == []


@pytest.mark.parametrize("fragment", ["part", "channel"])
def test_A1_widget_moved_in_fragment_reverts_by_one_full_run(
    room: str, monkeypatch: pytest.MonkeyPatch, requested: list[str | None], fragment: str
) -> None:
    viewer = session(assigns_on_each_run, room, role="viewer")
    viewers_room_session(room).tab.channel_fragment = "channel"
    viewer.slider[1].set_value(30)
    run_fragment(viewer, monkeypatch, fragment)
    assert requested == [None]
    viewer.run()
    assert (viewer.slider[1].value, len(viewer.toast)) == (0, 1)


def test_A1_remote_deletion_during_fragment_run_is_applied(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, viewer = session(board, room, role="editor"), session(watcher, room)
    editor.button[0].click().run()
    caught_up(viewer, room)
    assert "plain" in viewer.session_state
    editor.button[1].click().run()
    caught_up(editor, room)
    viewers_room_session(room).connection.drain()
    run_fragment(viewer, monkeypatch, "part")
    viewer.run()
    assert "plain" not in viewer.session_state


def watcher(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync

    if _compat.current_run().fragments:
        st.stop()  # this fragment renders nothing
    crdt_sync(room, role="viewer")


def writes_state(room: str) -> None:
    from streamlit_crdt import crdt_sync

    crdt_sync(room, role="viewer").state["a"] = 1


def test_A1_viewer_writing_room_state_raises_view_only_error(room: str) -> None:
    message = session(writes_state, room).exception[0].message
    assert "'a'" in message
    assert room in message
    assert issubclass(ViewOnlyError, PermissionError)


def twice(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, role="viewer")
    st.write(crdt_sync(room, role="editor").role)


def test_A1_viewer_stays_viewer_after_second_call_as_editor(room: str) -> None:
    assert session(twice, room).markdown[0].value == "viewer"


@pytest.mark.parametrize("role", ["admin", "", None, 1])
def test_unknown_role_is_rejected_at_the_call(role: Any) -> None:
    with pytest.raises(RoleError, match='"viewer"'):
        crdt_sync(None, role=role)


GUEST = User("guest-1", "Guest Otter")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Ada", User("Ada", "Ada")),
        ({"name": "Ada"}, User("Ada", "Ada")),
        ({"id": 7, "name": "Ada"}, User("7", "Ada")),
        ({"id": "7"}, User("7", "7")),
        ({"email": "ada@example.com", "name": "Ada"}, User("ada@example.com", "Ada")),
        ({"id": " ", "email": "ada@example.com"}, User("ada@example.com", "ada@example.com")),
        (None, GUEST),
    ],
)
def test_user_is_read_from_name_mapping_or_guest(given: Any, expected: User) -> None:
    assert participant_for("editor", given, GUEST).user == expected


@pytest.mark.parametrize("user", ["", "  ", {}, {"colour": "red"}, {"id": ""}, 7, ["Ada"]])
def test_user_without_name_and_id_is_rejected(user: Any) -> None:
    with pytest.raises(UserError, match="leave it out"):
        participant_for("editor", user, GUEST)


def test_long_user_name_is_truncated() -> None:
    assert participant_for("editor", "x" * 1000, GUEST).user == User("x" * MAX_CHARS, "x" * MAX_CHARS)


def test_logged_in_user_is_the_default_user(monkeypatch: pytest.MonkeyPatch) -> None:
    class LoggedIn:
        is_logged_in = True

        def to_dict(self) -> dict[str, Any]:
            return {"is_logged_in": True, "sub": "idp|7", "name": "Ada", "email": "ada@example.com"}

    monkeypatch.setattr("streamlit.user", LoggedIn())
    assert participant_for("editor", None, GUEST).user == User("idp|7", "Ada")
    assert participant_for("editor", "Eve", GUEST).user == User("Eve", "Eve")


def test_guests_have_readable_names_and_unique_ids() -> None:
    one, two = random_guest(), random_guest()
    assert one.name.startswith("Guest ")
    assert one.id != two.id
