"""A to-do list that the script computes from its checkboxes, and that takes a while."""

import json
import os
import time

import streamlit as st

from streamlit_crdt import crdt_sync

TASKS = ("milk", "bread", "eggs")

with crdt_sync(st.query_params.get("room", "todo"), server=os.environ.get("CRDT_SERVER")):
    st.session_state.setdefault("todos", [{"text": text, "done": False} for text in TASKS])
    st.session_state.setdefault("done", [])
    for i, todo in enumerate(st.session_state.todos):
        todo["done"] = st.checkbox(todo["text"], todo["done"], key=f"todo{i}")
    st.session_state.done = [todo["text"] for todo in st.session_state.todos if todo["done"]]
    time.sleep(0.5)
shown = {"todos": [todo["text"] + "-+"[todo["done"]] for todo in st.session_state.todos]}
with st.container(key="state"):
    st.text(json.dumps({**shown, "done": st.session_state.done}))
