"""Values with merge rules: a text, a selection, a counter, a list and a dict; undo and events."""

import json
import os
import threading

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx

from streamlit_crdt import crdt_sync, private_key

RECEIVED, ACTS = private_key("received"), private_key("acts")

name = st.query_params.get("name", "?")
room = crdt_sync(
    st.query_params.get("room", "merging"), server=os.environ.get("CRDT_SERVER"), merge={"NB_*": "counter"}
)
st.session_state.setdefault(RECEIVED, 0)
st.session_state.setdefault(ACTS, 0)
st.session_state.setdefault("NB_CLICKS", 0)
st.session_state.setdefault("log", [])
st.session_state.setdefault("plan", {"done": False, "hours": {}})

with st.container(horizontal=True):
    if st.button("count"):
        st.session_state["NB_CLICKS"] += 1
    if st.button("sign"):
        st.session_state["log"].append(name)
        st.session_state["plan"]["hours"][name] = len(name)
    st.button("undo", on_click=room.undo)
    st.button("redo", on_click=room.redo)
    if room.button("act"):
        st.session_state[ACTS] += 1
    if st.button("later"):
        timer = threading.Timer(1.0, room.list("log").append, ["from a thread"])
        add_script_run_ctx(timer)
        timer.start()
    if st.button("celebrate"):
        room.broadcast("balloons", name)

for _ in room.events("balloons"):
    st.session_state[RECEIVED] += 1

notes = st.text_area("Notes", "one\ntwo\nthree", height=120)
drinks = st.multiselect("Drinks", ["tea", "coffee", "milk", "water"], key="drinks")
sizes = st.pills("Sizes", ["S", "M", "L"], selection_mode="multi", key="sizes")
level = st.slider("Level", 0, 100, key="level")

with st.container(key="state"):
    st.text(
        json.dumps(
            {
                "notes": notes,
                "drinks": drinks,
                "sizes": sizes,
                "level": level,
                "clicks": st.session_state["NB_CLICKS"],
                "log": st.session_state["log"],
                "plan": st.session_state["plan"],
                "received": st.session_state[RECEIVED],
                "acts": st.session_state[ACTS],
            }
        )
    )
