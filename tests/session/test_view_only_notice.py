"""A viewer whose widget goes back is told so on the page (rule A1)."""

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


def test_A1_a_viewer_who_moves_a_widget_is_told_why_it_goes_back(room: str) -> None:
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


def test_A1_a_viewer_who_moves_a_widget_that_nobody_has_touched_is_told_as_well(room: str) -> None:
    viewer = session(board, room, role="viewer")
    viewer.slider[0].set_value(9).run()
    assert (viewer.slider[0].value, len(viewer.toast)) == (0, 1)


def test_A1_a_viewer_whose_script_assigns_to_a_widget_is_not_told_of_that(room: str) -> None:
    session(board, room, role="editor", assigns=True)
    viewer = session(board, room, role="viewer", assigns=True)
    for _ in range(3):
        caught_up(viewer)
        assert not viewer.toast
        viewer.button[0].click().run()
        assert not viewer.toast


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    spoken: list[str] = []
    monkeypatch.setattr(room_session.st, "toast", lambda text, icon: spoken.append(text))
    return spoken


def test_what_is_still_being_said_is_not_said_again(said: list[str]) -> None:
    now = 100.0
    telling = ViewOnlyNotice(clock=lambda: now)
    for told in (1, 1, 2):
        telling.request()
        telling.show()
        assert len(said) == told
        now += room_session.SHOWN_S * 0.6
    telling.show()
    assert len(said) == 2


def inside(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room, role="viewer"):
        st.slider("moved", key="moved")
        if st.button("reset", on_click=lambda: st.session_state.update(moved=5)):
            st.write("reset")


def test_A1_a_viewer_whose_callback_assigns_to_a_widget_is_not_told_of_that(room: str) -> None:
    viewer = session(inside, room)
    viewer.button[0].click().run()
    assert (viewer.slider[0].value, len(viewer.toast)) == (0, 0)
