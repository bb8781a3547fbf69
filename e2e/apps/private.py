"""Shared and private texts and values. `?keys=open*&keys=plain` shares only those keys."""

import json

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

MINE, PLAIN = private_key("mine"), private_key("plain")
SHARED = ("plain", "private:plain", f"my {PLAIN}")
"""Keys that resemble a private key, but are shared."""

keys = st.query_params.get_all("keys") or None
with crdt_sync(st.query_params.get("room", "private"), keys=keys, private=["secret_*", "exactly"]):
    seen = {
        "open": st.text_input("open", key="open"),
        "opened": st.text_input("opened", key="opened"),
        "mine": st.text_input("mine", key=MINE),
        "mine too": st.text_input("mine too", key="mine"),
        "globbed": st.text_input("globbed", key="secret_text"),
        "exactly": st.text_input("exactly", key="exactly"),
        "not exactly": st.text_input("not exactly", key="exactly_not"),
        "unkeyed": st.text_input("unkeyed"),
        "password": st.text_input("password", type="password"),
    }
    if st.button("assign"):
        st.session_state[PLAIN] = "confidential-plain"
        st.session_state["secret_plain"] = "confidential-globbed-plain"
        for key in SHARED:
            st.session_state[key] = "shared-value"
for key in (PLAIN, "secret_plain", *SHARED):
    seen[key] = st.session_state.get(key)
with st.container(key="state"):
    st.text(json.dumps(seen))
