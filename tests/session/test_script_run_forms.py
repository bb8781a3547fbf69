"""Forms in real scripts, run by AppTest: widgets of a form, and the values that the browser gets (rule P7)."""

from __future__ import annotations

import uuid

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.binding import StateBinding
from streamlit_crdt.binding.widgets import FormInfo
from streamlit_crdt.session.script_run import FormRegistry
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def app(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def fill() -> None:
        st.session_state["notes"] = "a template"

    crdt_sync(room)
    st.button("fill in", on_click=fill)
    if st.button("run twice"):
        st.rerun()
    st.text_input("outside", key="outside")
    with st.form("a form"):
        st.number_input("kept", 0, 100, 5, key="kept")
        left, _right = st.columns(2)
        with left:
            st.checkbox("in a column")
        st.form_submit_button("Save")
        st.form_submit_button("Save and close")
    form = st.sidebar.form("another", clear_on_submit=True)
    form.number_input("cleared", 0, 100, 5)
    form.text_area("notes", key="notes")
    form.form_submit_button("Send ✉️")


def binding_of(room: str) -> StateBinding:
    """Return the state binding of the newest session in a room."""
    return [one.room_sessions[room].binding for one in registry.sessions() if room in one.room_sessions][-1]


def press(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def test_widget_has_its_form_in_every_notation(room: str) -> None:
    session(app, room)
    widgets = binding_of(room).widgets.values()
    forms = {(widget.kind, widget.form) for widget in widgets if widget.is_settable}
    kept, cleared = FormInfo("a form"), FormInfo("another", clears=True)
    assert forms == {
        ("text_input", None), ("number_input", kept), ("checkbox", kept),
        ("number_input", cleared), ("text_area", cleared),
    }  # fmt: skip


@pytest.mark.parametrize("button", ["Save", "Save and close"])
def test_P7_form_draft_is_shared_on_submit_only(room: str, button: str) -> None:
    ada, bob = session(app, room), session(app, room)
    ada.number_input(key="kept").set_value(9).run()
    assert caught_up(bob).number_input(key="kept").value == 5
    ada.number_input(key="kept").set_value(9)
    press(ada, button)
    assert caught_up(bob).number_input(key="kept").value == 9


def test_P7_browser_gets_values_of_kept_form_only(room: str) -> None:
    ada, bob = session(app, room), session(app, room)
    ada.number_input(key="kept").set_value(9)
    press(ada, "Save")
    ada.text_area(key="notes").set_value("from Ada")
    press(ada, "Send ✉️")
    for page in (caught_up(bob), session(app, room)):
        assert page.session_state["kept"] == 9
        assert page.session_state["notes"] == "from Ada"
        assert page.number_input(key="kept").proto.set_value
        assert not page.text_area(key="notes").proto.set_value
    assert press(bob, "run twice").session_state["notes"] == "from Ada"
    assert caught_up(bob).session_state["notes"] == "from Ada"


def test_P7_value_assigned_to_cleared_form_shows_in_own_tab_only(room: str) -> None:
    ada, bob = session(app, room), session(app, room)
    press(ada, "fill in")
    assert ada.text_area(key="notes").proto.set_value
    assert not caught_up(bob).text_area(key="notes").proto.set_value
    assert bob.session_state["notes"] == "a template"


def test_missing_forms_and_buttons_are_dropped() -> None:
    forms = FormRegistry()
    forms.add("one", clears=True)
    forms.add_button("$$ID-1-send", "one")
    assert forms.submitted(["$$ID-1-send", "another"]) == {"one"}
    forms.end_run()
    assert forms.submitted(["$$ID-1-send"]) == {"one"}
    forms.end_run()
    assert forms.submitted(["$$ID-1-send"]) == frozenset()
    assert forms.get("") is None
