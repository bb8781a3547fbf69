"""An app with roles, save status and users."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

RUNS, FLUSHED = private_key("runs"), private_key("flushed")

query = st.query_params
room = crdt_sync(
    query.get("room", "trust"),
    server=os.environ.get("CRDT_SERVER"),
    role=query.get("role", "editor"),
    user=query.get("user"),
)
st.session_state[RUNS] = st.session_state.get(RUNS, 0) + 1
a = st.number_input("a", 0, 100_000, 0, key="a")
notes = st.text_input("notes", key="notes")
with st.container(key="badge"):
    room.status_badge()
if st.button("flush"):
    st.session_state[FLUSHED] = room.flush()
shown = {"a": a, "notes": notes, "role": room.role, "runs": st.session_state[RUNS], "saved": room.saved}
with st.container(key="state"):
    st.text(json.dumps({**shown, "flushed": st.session_state.get(FLUSHED)}))
