"""A click counter. Each click acts in its own tab, and all clicks are counted."""

import json

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

MINE = private_key("mine")

with crdt_sync(st.query_params.get("room", "clicks"), merge={"NB_CLICKS": "counter"}):
    if st.session_state.get("NB_CLICKS") is None:
        st.session_state["NB_CLICKS"] = 0
    if st.button(label="click"):
        st.session_state["NB_CLICKS"] += 1
        st.session_state[MINE] = st.session_state.get(MINE, 0) + 1
    st.write("Clicked **" + str(st.session_state["NB_CLICKS"]) + "** times !")
    note = st.text_input("note")
with st.container(key="state"):
    st.text(
        json.dumps(
            {"clicks": st.session_state["NB_CLICKS"], "mine": st.session_state.get(MINE, 0), "note": note}
        )
    )
