"""Notice to a viewer whose change is reverted (rule A1)."""

from __future__ import annotations

import uuid

import pytest

from streamlit_crdt.session import room_session
from streamlit_crdt.session.room_session import ICON, NOTICE, ViewOnlyNotice
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def board(room: str, role: str, assigns: bool = False) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room, role=role):  # type: ignore[arg-type]
        if assigns:
            st.session_state["assigned"] = 9 if role == "viewer" else 7
        st.slider("moved", key="moved")
        st.slider("assigned", key="assigned")
        st.button("click")


def test_A1_viewer_moving_widget_gets_notice(room: str) -> None:
    editor, viewer = session(board, room, role="editor"), session(board, room, role="viewer")
    editor.slider[0].set_value(7).run()
    caught_up(viewer)
    assert not viewer.toast
    viewer.slider[0].set_value(9).run()
    assert (viewer.slider[0].value, [toast.value for toast in viewer.toast]) == (7, [NOTICE])
    assert viewer.toast[0].icon == ICON
    viewer.button[0].click().run()
    assert not viewer.toast
    editor.slider[0].set_value(8).run()
    assert not editor.toast


def test_A1_viewer_moving_untouched_widget_gets_notice(room: str) -> None:
    viewer = session(board, room, role="viewer")
    viewer.slider[0].set_value(9).run()
    assert (viewer.slider[0].value, len(viewer.toast)) == (0, 1)


def test_A1_script_assignment_in_viewer_session_shows_no_notice(room: str) -> None:
    session(board, room, role="editor", assigns=True)
    viewer = session(board, room, role="viewer", assigns=True)
    for _ in range(3):
        caught_up(viewer)
        assert not viewer.toast
        viewer.button[0].click().run()
        assert not viewer.toast


@pytest.fixture
def toasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(room_session.st, "toast", lambda text, icon: shown.append(text))
    return shown


def test_visible_notice_is_not_repeated(toasts: list[str]) -> None:
    now = 100.0
    notice = ViewOnlyNotice(clock=lambda: now)
    for count in (1, 1, 2):
        notice.request()
        notice.show()
        assert len(toasts) == count
        now += room_session.SHOWN_S * 0.6
    notice.show()
    assert len(toasts) == 2


def inside(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room, role="viewer"):
        st.slider("moved", key="moved")
        if st.button("reset", on_click=lambda: st.session_state.update(moved=5)):
            st.write("reset")


def test_A1_callback_assignment_in_viewer_session_shows_no_notice(room: str) -> None:
    viewer = session(inside, room)
    viewer.button[0].click().run()
    assert (viewer.slider[0].value, len(viewer.toast)) == (0, 0)
