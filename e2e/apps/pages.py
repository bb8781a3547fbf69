"""A multipage app whose pages share a key."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

# A page switch drops the query parameters, so session state keeps the room's name.
name = st.session_state.setdefault(private_key("room"), st.query_params.get("room", "pages"))
crdt_sync(name, server=os.environ.get("CRDT_SERVER"))


def first() -> None:
    a = st.slider("a", key="a")
    b = st.slider("same label")
    if st.button("leave"):
        st.session_state["plain"] = f"{a} as we left"
        st.switch_page(other)
    with st.container(key="state"):
        st.text(json.dumps({"page": "first", "a": a, "b": b, "plain": st.session_state.get("plain")}))


def second() -> None:
    c = st.slider("c", key="c")
    b = st.slider("same label")
    if st.button("assign"):
        st.session_state["plain"] = c
    with st.container(key="state"):
        st.text(json.dumps({"page": "second", "c": c, "b": b, "plain": st.session_state.get("plain")}))


other = st.Page(second)
st.navigation([st.Page(first, default=True), other]).run()
