"""The example of streamlit-sync's README, with only its import and its call renamed."""

import streamlit as st

import streamlit_crdt

room_name = streamlit_crdt.select_room_widget()

with streamlit_crdt.crdt_sync(room_name):
    y = st.slider("Select a value")
    st.write(y, "squared is", y * y)
