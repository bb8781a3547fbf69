"""`settle`: the reruns that remote edits cause, and their end."""

from __future__ import annotations

import pytest

from streamlit_crdt.testing import NeverSettlesError, ScriptFailedError, sessions_of


def counts_runs() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    runs = st.session_state.setdefault(private_key("runs"), [])
    runs.append(1)
    crdt_sync("room")
    st.slider("x", key="x")
    if st.checkbox("more", key=private_key("more")):
        st.slider("y", key="y")
    st.write(len(runs))


def test_P4_settle_reruns_only_concerned_sessions() -> None:
    with sessions_of(counts_runs, 3) as people:
        ada, _ben, cem = people
        people.settle()
        assert [one.markdown[0].value for one in people] == ["`1`"] * 3
        cem.checkbox[0].check().run()
        cem.slider(key="y").set_value(4).run()
        people.settle()
        assert [one.markdown[0].value for one in people] == ["`2`", "`2`", "`3`"]
        ada.slider(key="x").set_value(4).run()
        people.settle()
        people.settle()
        assert [one.markdown[0].value for one in people] == ["`3`", "`3`", "`4`"]


def volatile() -> None:
    import time

    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    st.slider("x", key="x")
    st.session_state["now"] = time.time_ns()


def test_P4_volatile_value_settles_and_is_a_named_difference() -> None:
    with sessions_of(volatile, 3) as people:
        people[0].slider[0].set_value(3).run()
        people.settle()
        assert [one.slider[0].value for one in people] == [3, 3, 3]
        with pytest.raises(AssertionError, match="'now'") as raised:
            people.assert_converged()
        assert "rule P4" in str(raised.value)
        people.assert_converged(ignore=["now"])


def restless() -> None:
    import threading

    import streamlit as st
    from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

    from streamlit_crdt import crdt_sync

    room = crdt_sync("room")
    thread = threading.Thread(target=room.counter("views").increment)
    add_script_run_ctx(thread, get_script_run_ctx())
    thread.start()
    thread.join()
    st.slider("x", key="x")


def test_endless_reruns_raise_NeverSettlesError_with_the_key() -> None:
    with sessions_of(restless, 1) as people:
        people.settle()  # no other session causes a rerun
        people.join()
        with pytest.raises(NeverSettlesError, match="'views'") as raised:
            people.settle()
        assert raised.value.causes == ("'views'",)


def two_rooms() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("a", merge={"n": "counter"})
    crdt_sync("b", merge={"n": "counter"})
    st.session_state.setdefault("log", ["begun"])
    st.session_state.setdefault("n", 0)
    if st.button("add"):
        st.session_state["log"].append("more")
        st.session_state["n"] += 1


def test_P4_values_shared_in_two_rooms_settle() -> None:
    with sessions_of(two_rooms, 3) as people:
        for one in people:
            one.button[0].click().run()
            people.settle()
        people.assert_converged()
        assert [one.session_state["log"] for one in people] == [["begun", "more", "more", "more"]] * 3
        with people.apart():
            for one in people:
                one.button[0].click().run()
        people.assert_converged()
        assert people.values_in("a") == people.values_in("b")


def fails() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    if st.slider("x", key="x") > 5:
        raise ValueError("more than five")


def test_exception_in_a_script_raises_ScriptFailedError() -> None:
    with sessions_of(fails) as people:
        people[0].slider[0].set_value(7).run()
        assert people[0].exception
        with pytest.raises(ScriptFailedError, match="more than five") as raised:
            people.settle()
        assert (raised.value.session, "raise ValueError" in raised.value.text) == ("people[1]", True)
        with pytest.raises(ScriptFailedError, match=r"people\[0\]"):
            people.assert_converged()
        people[1].slider[0].set_value(1).run()
        people.assert_converged()


def events() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room = crdt_sync("room")
    if st.button("cheer"):
        room.broadcast("cheer", "hooray")
    received = st.session_state.setdefault(private_key("received"), [])
    received += [event.payload for event in room.events("cheer")]
    st.write(" ".join(received))


def test_event_is_received_once_by_present_sessions() -> None:
    with sessions_of(events) as people:
        people[0].button[0].click().run()
        people.settle()
        late = people.join()
        people.settle()
        assert [one.markdown[0].value for one in people] == ["hooray", "hooray", ""]
        assert late is people[2]


def drafting() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    st.text_area("Notes", key="notes")
    with st.form("form"):
        st.text_input("Title", key="title")
        st.form_submit_button("Save")
    st.button("click", key="click")
    st.slider("x", key="x")


def test_P5_drafts_and_clicks_survive_remote_edits() -> None:
    with sessions_of(drafting) as people:
        ada, ben = people
        ada.text_area[0].set_value("Bread.").run()
        people.settle()
        ada.text_area[0].set_value("Bread, please.")
        ada.text_input[0].set_value("Shopping")
        for number, text in enumerate(("Fresh Bread.", "Fresh Bread. Soon."), 1):
            ben.slider[0].set_value(number)
            ben.text_area[0].set_value(text).run()
            people.settle()
            assert ada.slider[0].value == number
            assert (ada.text_area[0].value, ada.text_input[0].value) == ("Bread, please.", "Shopping")
            assert ben.text_input[0].value == ""
        ada.button[1 if ada.button[0].label == "click" else 0].click().run()
        people.assert_converged()
        assert ben.text_area[0].value == "Fresh Bread, please. Soon."
        assert ben.text_input[0].value == "Shopping"


def test_P1_any_change_after_settling_is_an_edit() -> None:
    with sessions_of(drafting) as people:
        ada, ben = people
        ada.slider[0].set_value(7).run()
        people.settle()
        ben.slider[0].set_value(0)
        ben.button(key="click").click().run()
        people.assert_converged()
        assert ada.slider[0].value == 0
        ada.slider[0].set_value(9).run()
        ben.run()
        ben.slider[0].set_value(0)
        ben.button(key="click").click().run()
        people.assert_converged()
        assert ada.slider[0].value == 0
