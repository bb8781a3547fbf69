"""Byte strings of a given size, assigned one at a time or all in one run."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync

room = crdt_sync(st.query_params.get("room", "tables"), server=os.environ.get("CRDT_SERVER"))
size = int(st.query_params.get("size", 7_000_000))
st.text_input("Word", key="word")
names = [key for key in ("t0", "t1", "t2") if key in st.session_state]
if st.button("Add a table") and len(names) < 3:
    st.session_state[f"t{len(names)}"] = os.urandom(size)
if st.button("Add all tables"):
    for name in ("t0", "t1", "t2"):
        st.session_state[name] = os.urandom(size)
with st.container(key="state"):
    st.text(
        json.dumps(
            {
                "word": st.session_state.word,
                "tables": sum(key in st.session_state for key in ("t0", "t1", "t2")),
                "status": room.status,
                "saved": room.saved,
            }
        )
    )
