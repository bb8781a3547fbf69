"""A clock in the shared state, assigned in each run."""

import json
import time

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

RUNS = private_key("runs")

with crdt_sync(st.query_params.get("room", "volatile")):
    st.session_state[RUNS] = st.session_state.get(RUNS, 0) + 1
    st.session_state["now"] = time.time()
    level = st.slider("level")
with st.container(key="state"):
    st.text(json.dumps({"runs": st.session_state[RUNS], "level": level}))
