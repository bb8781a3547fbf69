"""An app for concurrent edits: numbers, texts, a button, and private counts of runs and clicks.

`?hold=NAME` holds the run of a click until a page with `?release=NAME` releases it; `?block=1` uses the `with` form.
"""

import collections
import contextlib
import json
import os
import threading

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

HOLD_S = 120
"""Limit in seconds, so that a failed test leaves no run behind."""


@st.cache_resource
def gates() -> dict[str, threading.Event]:
    return collections.defaultdict(threading.Event)


RUNS, HANDLED = private_key("runs"), private_key("handled")

room = crdt_sync(st.query_params.get("room", "board"), server=os.environ.get("CRDT_SERVER"))
with room if "block" in st.query_params else contextlib.nullcontext():
    st.session_state[RUNS] = st.session_state.get(RUNS, 0) + 1
    first_run = st.session_state[RUNS] == 1
    if clicked := st.button("click"):
        st.session_state[HANDLED] = st.session_state.get(HANDLED, 0) + 1
    names = "abcdef"
    numbers = {name: st.number_input(name, 0, 100_000, 0, key=name) for name in names}
    unkeyed = st.number_input("unkeyed", 0, 100_000, 0)
    if clicked and "hold" in st.query_params:
        gates()[st.query_params["hold"]].wait(HOLD_S)
    if "release" in st.query_params and st.button("release"):
        gates()[st.query_params["release"]].set()
    notes = st.text_area("notes", key="notes")
    title = st.text_input("title", key="title")
    if st.button("count"):
        st.session_state["count"] = st.session_state.get("count", 0) + 1

if first_run:
    st.session_state[private_key("first")] = dict(numbers)
with st.container(key="state"):
    st.text(
        json.dumps(
            {
                **numbers,
                "unkeyed": unkeyed,
                "notes": notes,
                "title": title,
                "count": st.session_state.get("count"),
                "runs": st.session_state[RUNS],
                "handled": st.session_state.get(HANDLED, 0),
                "status": room.status,
                "first": st.session_state[private_key("first")],
            }
        )
    )
