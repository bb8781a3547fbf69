"""Features of apps and of AppTest with several sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlit_crdt.testing import sessions_of


def form() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    with st.form("form", clear_on_submit=False):
        st.text_input("Title", key="title")
        st.number_input("n", 0, 10, 1)
        if st.form_submit_button("Save"):
            st.session_state["saved"] = st.session_state.get("saved", 0) + 1
    st.slider("x", key="x")


def test_P7_form_is_private_until_submit() -> None:
    with sessions_of(form) as people:
        ada, ben = people
        ada.text_input[0].set_value("Shopping")
        ada.number_input[0].set_value(3)
        ben.slider[0].set_value(5).run()
        people.settle()
        assert (ben.text_input[0].value, ben.number_input[0].value) == ("", 1)
        ada.button[0].click().run()
        people.assert_converged()
        assert (ben.text_input[0].value, ben.number_input[0].value) == ("Shopping", 3)
        assert ben.session_state["saved"] == 1


def clicks() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room = crdt_sync("room", merge={"n": "counter"})
    st.session_state.setdefault("n", 0)
    mine = st.session_state.setdefault(private_key("mine"), [])

    def add() -> None:
        st.session_state.n += 1
        mine.append("callback")

    st.button("callback", on_click=add, key="callback")
    if st.button("rerun", key="rerun"):
        st.session_state.n += 1
        st.rerun()
    if room.button("shared"):
        mine.append("shared")
    if st.button("stop", key="stop"):
        st.session_state.n += 1
        st.stop()
    st.button("Undo", key="undo", on_click=room.undo, disabled=not room.can_undo)
    st.text_input("Title", key="title")
    st.write(st.session_state.n, " ".join(mine))


def test_P6_click_acts_once_in_its_session_at_any_run_ending() -> None:
    with sessions_of(clicks, 3) as people:
        ada, ben, _cem = people
        with people.apart():
            ada.button(key="callback").click().run()
            ben.button(key="rerun").click().run()
        people.assert_converged()
        ben.button(key="stop").click().run()
        assert not ben.markdown
        people.settle()
        ben.run()
        ada.button(key="shared").click().run()
        people.assert_converged()
        assert [one.markdown[0].value.split("`")[1] for one in people] == ["3", "3", "3"]
        assert ada.markdown[0].value.endswith("callback shared")
        assert "shared" not in ben.markdown[0].value


def test_undo_reverts_only_own_edits() -> None:
    with sessions_of(clicks) as people:
        ada, ben = people
        ada.text_input[0].set_value("Shopping").run()
        people.settle()
        ben.button(key="callback").click().run()
        people.settle()
        ada.button(key="undo").click().run()
        people.assert_converged()
        assert (ben.text_input[0].value, ben.session_state.n) == ("", 1)


def roles(role: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room = crdt_sync("room", role=role)
    st.slider("x", key="x")
    st.write(room.role)


def test_A1_viewer_sees_edits_and_makes_none() -> None:
    with sessions_of(roles, 0) as people:
        ada, eve = people.join(args=("editor",)), people.join(args=("viewer",))
        ada.slider[0].set_value(4).run()
        people.settle()
        assert eve.slider[0].value == 4
        eve.slider[0].set_value(9).run()
        people.assert_converged()
        assert [ada.slider[0].value, eve.slider[0].value] == [4, 4]
        assert eve.markdown[0].value == "viewer"
        with people.apart(eve):
            eve.slider[0].set_value(9).run()
        people.assert_converged()
        assert people.values_in("room") == {"x": 4}


def fragments() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")

    @st.fragment
    def fragment_part() -> None:
        st.slider("inside", key="inside")
        st.toggle("without a key")

    fragment_part()


def test_edits_in_a_fragment_are_shared() -> None:
    with sessions_of(fragments) as people:
        people[0].slider[0].set_value(4)
        people[0].toggle[0].set_value(True).run()
        people.assert_converged()
        assert (people[1].slider[0].value, people[1].toggle[0].value) == (4, True)


MAIN = """
import streamlit as st
from streamlit_crdt import crdt_sync
crdt_sync("room")
if st.button("go on"):
    st.switch_page("pages/second.py")
st.slider("Guests", key="guests")
st.toggle("first")
"""
SECOND = """
import streamlit as st
from streamlit_crdt import crdt_sync
crdt_sync("room")
st.number_input("Rooms", 0, 9, key="rooms")
st.toggle("second")
"""


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "second.py").write_text(SECOND)
    main = tmp_path / "main.py"
    main.write_text(MAIN)
    return main


def test_P3_sessions_on_different_pages_converge(pages: Path) -> None:
    with sessions_of(pages) as people:
        ada, ben = people
        ada.slider(key="guests").set_value(12)
        ada.toggle[0].set_value(True).run()
        people.settle()
        ben.switch_page("pages/second.py").run()
        ben.number_input(key="rooms").set_value(3)
        ben.toggle[0].set_value(True).run()
        ada.slider(key="guests").set_value(13).run()
        people.assert_converged()
        assert not ben.slider
        ada.switch_page("pages/second.py").run()
        people.assert_converged()
        assert (ada.number_input[0].value, ada.toggle[0].value) == (3, True)
        ben.switch_page("main.py").run()
        people.assert_converged()
        assert (ben.slider[0].value, ben.toggle[0].value) == (13, True)
        ben.button[0].click().run()
        assert (ben.number_input[0].value, len(ben.slider)) == (3, 0)
        ada.number_input[0].set_value(4).run()
        people.assert_converged()
        assert people.values_in("room")["guests"] == 13


def endless() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    if st.slider("x", key="x") == 3:
        while True:
            st.session_state.get("y")


def test_script_timeout_does_not_affect_other_sessions() -> None:
    with sessions_of(endless) as people:
        people[0].slider[0].set_value(3)
        with pytest.raises(RuntimeError, match="timed out"):
            people[0].run(timeout=0.3)
        people[0].slider[0].set_value(4).run()
        people.assert_converged()
        assert people[1].slider[0].value == 4


def vanishing() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync("room")
    if st.checkbox("show", value=True, key=private_key("show")):
        st.slider("x", key="x")
    if st.button("set"):
        st.session_state["plain"] = {"a": [1, 2.0, None]}
    if st.button("delete"):
        del st.session_state["plain"]
    st.write(st.session_state.get("plain", "gone"))


def test_P3_hidden_widget_is_not_compared_and_deletion_is_shared() -> None:
    with sessions_of(vanishing, 3) as people:
        ada, ben, cem = people
        ada.slider[0].set_value(4).run()
        ben.checkbox[0].uncheck().run()
        people.assert_converged()
        cem.button[0].click().run()
        people.assert_converged()
        assert ben.session_state["plain"] == {"a": [1, 2.0, None]}
        with people.apart(cem):
            ben.button[1].click().run()
        people.assert_converged()
        assert [one.markdown[0].value for one in people] == ["gone"] * 3
        ben.checkbox[0].check().run()
        people.assert_converged()
        assert ben.slider[0].value == 4
