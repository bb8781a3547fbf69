"""Each settable type of widget, without a key or with one (?keyed=1), in different containers.

What the script sees is printed as one JSON object, `repr` by widget, for the test to read.
"""

import json
import os
from datetime import date, datetime, time
from enum import Enum

import streamlit as st

from streamlit_crdt import crdt_sync


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Fruit:
    """An option that cannot be shared; only its label is shared."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Fruit({self.name})"


FRUITS = [Fruit("Apple"), Fruit("Banana"), Fruit("Cherry")]
COLORS = ["red", "green", "blue"]
keyed = "keyed" in st.query_params


def key(name: str) -> str | None:
    return f"k_{name}" if keyed else None


crdt_sync(st.query_params.get("room", "kinds"), server=os.environ.get("CRDT_SERVER"))
seen = {}
with st.sidebar:
    seen["checkbox"] = st.checkbox("checkbox", key=key("checkbox"))
    seen["toggle"] = st.toggle("toggle", key=key("toggle"))
left, right = st.columns(2)
with left:
    seen["radio"] = st.radio("radio", COLORS, key=key("radio"))
    seen["selectbox"] = st.selectbox("selectbox", COLORS, key=key("selectbox"))
    seen["multiselect"] = st.multiselect("multiselect", COLORS, key=key("multiselect"))
    seen["pills"] = st.pills("pills", COLORS, key=key("pills"))
    seen["pills_multi"] = st.pills("pills_multi", COLORS, selection_mode="multi", key=key("pills_multi"))
    seen["segmented"] = st.segmented_control("segmented", COLORS, key=key("segmented"))
    seen["select_slider"] = st.select_slider("select_slider", COLORS, key=key("select_slider"))
    seen["select_range"] = st.select_slider("select_range", COLORS, ("red", "green"), key=key("select_range"))
with right:
    seen["feedback"] = st.feedback("stars", key=key("feedback"))
    seen["slider"] = st.slider("slider", key=key("slider"))
    seen["slider_float"] = st.slider("slider_float", 0.0, 1.0, 0.5, 0.25, key=key("slider_float"))
    seen["slider_range"] = st.slider("slider_range", 0, 10, (2, 8), key=key("slider_range"))
    seen["slider_date"] = st.slider(
        "slider_date", date(2024, 1, 1), date(2024, 1, 31), date(2024, 1, 10), key=key("slider_date")
    )
    seen["number"] = st.number_input("number", 0, 100, 5, key=key("number"))
    seen["number_float"] = st.number_input("number_float", value=1.0, key=key("number_float"))
    seen["number_none"] = st.number_input("number_none", value=None, step=1, key=key("number_none"))
    seen["color"] = st.color_picker("color", key=key("color"))
first, second = st.tabs(["first", "second"])
with first:
    seen["text"] = st.text_input("text", key=key("text"))
    seen["area"] = st.text_area("area", key=key("area"))
    seen["date"] = st.date_input("date", date(2024, 5, 1), key=key("date"))
    seen["date_range"] = st.date_input(
        "date_range", (date(2024, 5, 1), date(2024, 5, 9)), key=key("date_range")
    )
    seen["time"] = st.time_input("time", time(8, 45), key=key("time"))
    seen["datetime"] = st.datetime_input("datetime", datetime(2024, 5, 1, 8, 45), key=key("datetime"))
    seen["pagination"] = st.pagination(5, key=key("pagination"))
with st.form("form"):
    seen["form_text"] = st.text_input("form_text", key=key("form_text"))
    seen["form_check"] = st.checkbox("form_check", key=key("form_check"))
    st.form_submit_button("submit")
seen["enum"] = st.selectbox("enum", list(Size), key=key("enum"))
seen["objects"] = st.multiselect("objects", FRUITS, format_func=lambda fruit: fruit.name, key=key("objects"))

with st.container(key="state"):
    st.text(json.dumps({name: repr(value) for name, value in seen.items()}))
