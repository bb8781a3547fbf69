"""Runs that end by stop, rerun, an error or a newer run, each after an assignment."""

import json
import time

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

SEEN, DONE = private_key("seen"), private_key("done")

room = st.query_params.get("room", "endings")
state = st.session_state


@st.fragment
def part() -> None:
    if st.button("fragment"):
        state["part"] = "first"
        st.rerun(scope="fragment")
    if state.get("part") == "first":
        state["part"] = "second"
    with st.container(key="part"):
        st.text(json.dumps({"part": state.get("part")}))


def show() -> None:
    """Print the session's values, and each value of `pace` that its runs have read, in order."""
    names = ("how", "before", "after", "pace", "step", "n", "note")
    with st.container(key="state"):
        st.text(json.dumps({name: state.get(name) for name in names} | {"seen": state[SEEN]}))


with crdt_sync(room):
    found = state.setdefault(SEEN, [])
    if state.get("pace") not in [None, *found[-1:]]:
        found.append(state["pace"])
    if state.get("n", 0) != state.get(DONE, 0):
        state[DONE] = state["n"]
        st.rerun()  # above the widget that a remote edit has changed
    clicked = [name for name in ("stop", "rerun", "error") if st.button(name)]
    how = clicked[0] if clicked else None
    is_slow, is_quick = st.button("slow"), st.button("quick")
    st.number_input("n", 0, 100, 0, key="n")
    st.text_input("note", key="note")
    part()
    if how:
        state["how"] = how
        state["after"] = None
        with crdt_sync(f"{room}-inner", private=["*"]):
            state["before"] = how
            if how == "stop":
                show()
                st.stop()
            if how == "rerun":
                st.rerun()
            if how == "error":
                show()
                raise RuntimeError("an app's own error")
        state["after"] = how
    if is_slow:
        state["pace"] = "slow"
        place = st.empty()
        for step in range(400):
            state["step"] = step
            place.write(step)
            time.sleep(0.05)
        state["pace"] = "slow to its end"
    if is_quick:
        state["pace"] = "quick"
    show()
