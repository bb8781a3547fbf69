"""Endless reruns (P4): merged values and events must not make sessions rerun each other forever."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def two_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(f"{room}-A", merge={"n": "counter"})
    crdt_sync(f"{room}-B", merge={"n": "counter"})
    st.session_state.setdefault("log", ["begun"])
    st.session_state.setdefault("n", 0)
    if st.button("add"):
        st.session_state["log"].append("more")
        st.session_state["n"] += 1


def test_P4_value_in_two_rooms_does_not_grow(room: str) -> None:
    one, two = session(two_rooms, room), session(two_rooms, room)
    one.button[0].click().run()
    caught_up(two).button[0].click().run()
    for _ in range(4):
        caught_up(one)
        caught_up(two)
    for at in (one, two):
        assert (at.session_state["log"], at.session_state["n"]) == (["begun", "more", "more"], 2)


def assigns_own_selection(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    st.session_state["drinks"] = ["coffee", "tea"]
    st.multiselect("Drinks", ["tea", "coffee", "milk"], key="drinks")


def changes_number_type(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync(room, merge={"n": "counter"})
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    st.session_state["n"] = int(st.session_state.get("n", 0.5) + 0.5)


def reads_events_once(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    if st.session_state[runs] == 1:
        list(room_.events("ping"))
    room_.broadcast("ping")


def reads_first_event_only(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    room_.broadcast("ping")
    room_.broadcast("ping")
    for _ in room_.events("ping"):
        break


@pytest.mark.parametrize(
    "app", [assigns_own_selection, changes_number_type, reads_events_once, reads_first_event_only]
)
def test_P4_script_that_ignores_merged_values_stops_rerunning(app: Callable[..., None], room: str) -> None:
    from streamlit_crdt import private_key

    at, other = session(app, room), session(app, room)
    for _ in range(3):
        before = at.session_state[private_key("runs")]
        caught_up(at)
        assert at.session_state[private_key("runs")] - before <= 2
    assert not at.exception and not other.exception
