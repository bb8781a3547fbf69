"""Every settable widget, without sharing, for the tests of the drivers (test_harness.py)."""

import datetime as dt
import json

import streamlit as st

values = {}
values["checkbox"] = st.checkbox("A checkbox")
values["toggle"] = st.toggle("A toggle")
values["slider"] = st.slider("A slider", 0, 100, 20)
values["range"] = st.slider("A range", 0, 100, (20, 40))
values["float"] = st.slider("A float slider", 0.0, 1.0, 0.5, step=0.05)
values["select_slider"] = st.select_slider("A select slider", ["low", "mid", "high"])
values["text"] = st.text_input("A text")
values["area"] = st.text_area("An area")
values["number"] = st.number_input("A number", 0, 100, 5)
values["selectbox"] = st.selectbox("A selectbox", ["one", "two", "three"])
values["multiselect"] = st.multiselect("A multiselect", ["one", "two", "three"])
values["radio"] = st.radio("A radio", ["one", "two", "three"])
values["pills"] = st.pills("Some pills", ["one", "two", "three"])
values["many_pills"] = st.pills("Many pills", ["one", "two", "three"], selection_mode="multi")
values["segmented"] = st.segmented_control("A segmented control", ["one", "two", "three"])
values["feedback"] = st.feedback("stars")
values["date"] = st.date_input("A date", dt.date(2026, 1, 15))
values["dates"] = st.date_input("Some dates", (dt.date(2026, 1, 1), dt.date(2026, 1, 15)))
values["time"] = st.time_input("A time", dt.time(8, 45))
values["datetime"] = st.datetime_input("A moment", dt.datetime(2026, 1, 15, 8, 45))
values["color"] = st.color_picker("A color", "#00ff00")
values["clicks"] = st.session_state.setdefault("clicks", 0)
if st.button("A button"):
    st.session_state.clicks += 1
with st.form("a form"):
    values["in_form"] = st.text_input("A text in a form")
    st.form_submit_button("Send")

with st.container(key="state"):
    st.text(json.dumps({**values, "clicks": st.session_state.clicks}, default=str))
