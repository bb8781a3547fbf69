"""An app with two fragments on timers: one shows the time, one has a shared widget and prints its values.

`?every=0` turns the timers off. With `?inside=1` only the second fragment is in the room: it calls `crdt_sync` itself.
"""

import json
import os
import time

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

RUNS = private_key("runs")
EVERY_S = float(st.query_params.get("every", "0.4")) or None
IS_INSIDE = "inside" in st.query_params


def join() -> None:
    crdt_sync(st.query_params.get("room", "ticking"), server=os.environ.get("CRDT_SERVER"))


@st.fragment(run_every=EVERY_S)
def clock() -> None:
    st.caption(f"It is {time.strftime('%X')}")


@st.fragment(run_every=EVERY_S)
def panel() -> None:
    if IS_INSIDE:
        join()
    inner = st.slider("inner", 0, 1000, 0, key="inner")
    unkeyed = st.slider("inner, without a key", 0, 1000, 0)
    seen = {key: st.session_state.get(key) for key in ("outer", "number", "note")}
    with st.container(key="panel"):
        st.text(json.dumps({**seen, "inner": inner, "unkeyed": unkeyed}))


if not IS_INSIDE:
    join()
st.session_state[RUNS] = st.session_state.get(RUNS, 0) + 1
outer = st.slider("outer", 0, 1000, 0, key="outer")
plain = st.slider("plain", 0, 1000, 0)
clock()
panel()
number = st.number_input("number", 0, 100_000, 0, key="number")
note = st.text_input("note", key="note")
seen = {"outer": outer, "plain": plain, "number": number, "note": note, "runs": st.session_state[RUNS]}
with st.container(key="state"):
    st.text(json.dumps(seen))
