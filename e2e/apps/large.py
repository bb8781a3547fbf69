"""A room with two thousand keys. Prints the size of the session's next frame."""

import json

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt import crdt_sync, private_key
from streamlit_crdt.session.streamlit_hooks import registry

TOUCHED = private_key("touched")

room = crdt_sync(st.query_params.get("room", "large"))
if st.button("fill"):
    for number in range(2000):
        st.session_state[f"key{number}"] = f"value {number}"
if st.button("touch"):
    st.session_state[TOUCHED] = st.session_state.get(TOUCHED, 0) + 1
session = registry.get(get_script_run_ctx().session_id)
with st.container(key="state"):
    st.text(
        json.dumps(
            {
                "keys": sum(1 for key in st.session_state if str(key).startswith("key")),
                "touched": st.session_state.get(TOUCHED, 0),
                "frame_bytes": len(session.room_sessions[room.name].tab.frame()),
            }
        )
    )
