"""Shared and private texts side by side."""

import json

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

with crdt_sync(st.query_params.get("room", "private"), private=["secret_*"]):
    seen = {
        "open": st.text_input("open", key="open"),
        "mine": st.text_input("mine", key=private_key("mine")),
        "globbed": st.text_input("globbed", key="secret_text"),
        "password": st.text_input("password", type="password"),
    }
with st.container(key="state"):
    st.code(json.dumps(seen), language=None)
