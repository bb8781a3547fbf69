"""A dashboard for a job: run `streamlit-crdt serve`, this app with CRDT_SERVER=ws://127.0.0.1:8765, and `job.py`."""

import os

import streamlit as st

from streamlit_crdt import crdt_sync

st.title("Nightly import")

with crdt_sync(st.query_params.get("room", "import"), server=os.environ.get("CRDT_SERVER")) as room:
    done, total = room.state.get("done", 0), room.state.get("total", 100)
    st.progress(done / total, text=f"{done} of {total} files")
    st.line_chart(list(room.list("rows")), height=200)
    st.checkbox("Stop after this file", key="stop")
    for event in room.events("finished"):
        st.success(f"Finished: {event.payload} rows.")
