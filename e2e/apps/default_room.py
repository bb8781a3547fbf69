"""The shortest app, in the default room."""

import json

import streamlit as st

from streamlit_crdt import crdt_sync

with crdt_sync():
    y = st.slider("Select a value")
    st.write(y, "squared is", y * y)
with st.container(key="state"):
    st.text(json.dumps({"y": y}))
