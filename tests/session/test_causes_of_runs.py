"""Causes of script runs: what code makes in a run that no person caused is not written (R9)."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.testing import sessions_of


def press(person: AppTest, key: str) -> AppTest:
    return next(button for button in person.button if button.key == key).click().run()


def to_do_list() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("room"):
        st.session_state.setdefault(
            "todos", [{"text": text, "done": False} for text in ("milk", "bread", "eggs")]
        )
        for index, todo in enumerate(st.session_state.todos):
            todo["done"] = st.checkbox(todo["text"], todo["done"], key=f"todo{index}")


def test_R9_bystander_of_a_to_do_list_writes_nothing() -> None:
    with sessions_of(to_do_list, 3) as people:
        people.settle()
        people[0].checkbox(key="todo0").check().run()
        people.settle()
        people[0].checkbox(key="todo1").check().run()
        people.assert_converged()
        ticked = [{"text": text, "done": text != "eggs"} for text in ("milk", "bread", "eggs")]
        assert people.values_in("room")["todos"] == ticked
        assert [one.session_state["todos"] for one in people] == [ticked] * 3


def derives() -> None:
    """Writes by each way that an app has, in each run."""
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    runs = st.session_state[private_key("runs")] = st.session_state.get(private_key("runs"), 0) + 1
    st.session_state.above = [runs]
    room = crdt_sync("room", merge={"count": "counter"})
    level = st.slider("level", key="level")
    if runs > 1:
        st.session_state.count = st.session_state.get("count", 0) + 1
        room.list("log").append(level)
        room.state["explicit"] = runs
        room.map("seen")[str(runs)] = level
        room.text("notes").append("x")
        room.counter("views").increment()
        room.set("tags").add(runs)
        st.session_state.plain = [runs]
        st.session_state.pop("gone", None)
    st.button("go", key="go")


def test_R9_no_way_of_writing_works_in_a_remote_run() -> None:
    with sessions_of(derives) as people:
        ada, ben = people
        people.settle()
        ada.slider(key="level").set_value(3).run()
        after_ada = people.values_in("room")
        people.settle()
        assert ben.slider(key="level").value == 3
        assert people.values_in("room") == after_ada
        press(ben, "go")
        assert people.values_in("room") != after_ada


def test_R9_refused_operation_is_logged_once_for_each_key(caplog: pytest.LogCaptureFixture) -> None:
    with sessions_of(derives) as people:
        ada, _ = people
        people.settle()
        for value in (3, 4):
            ada.slider(key="level").set_value(value).run()
            people.settle()
        messages = [record.getMessage() for record in caplog.records]
        for key in ("log", "explicit", "seen", "notes", "views", "tags"):
            assert len([text for text in messages if f"{key!r}" in text]) == 1, key


def reruns() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room = crdt_sync("room")
    level = st.slider("level", key="level")
    if st.session_state.get(private_key("level"), 0) != level:
        st.session_state[private_key("level")] = level
        st.rerun()
    st.session_state.setdefault("levels", []).append(level)
    room.list("explicit").append(level)


def test_R9_rerun_out_of_a_remote_run_writes_nothing() -> None:
    with sessions_of(reruns) as people:
        ada, ben = people
        people.settle()
        before = people.values_in("room")
        ada.slider(key="level").set_value(3).run()
        after = people.values_in("room")
        assert after["explicit"] == [*before["explicit"], 3]
        people.settle()
        assert ben.slider(key="level").value == 3
        assert people.values_in("room") == after


def test_R9_rerun_out_of_a_run_by_a_person_writes() -> None:
    with sessions_of(reruns) as people:
        ada, _ = people
        people.settle()
        ada.slider(key="level").set_value(3).run()
        assert people.values_in("room")["explicit"][-1] == 3
        assert people.values_in("room")["levels"][-1] == 3


def callback_in_remote_run() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room = crdt_sync("room")

    def add() -> None:
        st.session_state.setdefault("plain", []).append(st.session_state.level)
        room.list("explicit").append(st.session_state.level)

    st.slider("level", key="level", on_change=add)


def test_R9_callbacks_write_once() -> None:
    with sessions_of(callback_in_remote_run, 3) as people:
        people.settle()
        people[0].slider(key="level").set_value(3).run()
        people.assert_converged()
        assert people.values_in("room") == {"level": 3, "plain": [3], "explicit": [3]}


def thread_in_remote_run() -> None:
    import threading

    import streamlit as st
    from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

    from streamlit_crdt import crdt_sync, private_key

    room = crdt_sync("room")
    level = st.slider("level", key="level")
    if st.session_state.get(private_key("level"), 0) != level:
        st.session_state[private_key("level")] = level
        thread = threading.Thread(target=lambda: room.list("log").append(level))
        add_script_run_ctx(thread, get_script_run_ctx())
        thread.start()
        thread.join()


def test_R9_thread_of_a_remote_run_writes() -> None:
    with sessions_of(thread_in_remote_run) as people:
        ada, _ = people
        people.settle()
        ada.slider(key="level").set_value(3).run()
        people.settle()
        assert people.values_in("room")["log"] == [3, 3]
