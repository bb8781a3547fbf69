"""An app with the snapshot menu: numbers, a text, a selection and a plain value.

`?menu=sidebar` shows the menu there, `?role=viewer` lets look only.
"""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

RUNS = private_key("runs")

query = st.query_params
with crdt_sync(
    query.get("room", "snapshots"),
    server=os.environ.get("CRDT_SERVER"),
    role=query.get("role", "editor"),
    user=query.get("user"),
) as room:
    st.session_state[RUNS] = st.session_state.get(RUNS, 0) + 1
    menu, undo, flush = st.columns(3)
    with st.sidebar if query.get("menu") == "sidebar" else menu:
        room.snapshot_menu(help="Save the present values")
    undo.button("Undo", on_click=room.undo)
    flushed = flush.button("Flush") and room.flush()
    a = st.number_input("a", 0, 100_000, 0, key="a")
    b = st.number_input("b", 0, 100_000, 0, key="b")
    days = st.multiselect("days", ["Mon", "Tue", "Wed"], key="days")
    notes = st.text_area("notes", key="notes")
    if st.button("plain"):
        st.session_state["plain"] = (1, 2.0, True)

with st.container(key="state"):
    shown = {"a": a, "b": b, "days": days, "notes": notes, "plain": repr(st.session_state.get("plain"))}
    st.text(json.dumps({**shown, "runs": st.session_state[RUNS], "flushed": flushed}))
