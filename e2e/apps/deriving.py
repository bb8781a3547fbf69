"""A value that one session's script computes from shared values."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync

room = crdt_sync(st.query_params.get("room", "deriving"), server=os.environ.get("CRDT_SERVER"))
st.button("undo", on_click=room.undo, disabled=not room.can_undo)
size = st.slider("Size", 0, 10, key="size")
notes = st.text_input("Notes", key="notes")
if st.query_params.get("name") == "Ada":
    st.session_state["total"] = size + len(notes)
with st.container(key="state"):
    st.text(json.dumps({"size": size, "total": st.session_state.get("total")}))
