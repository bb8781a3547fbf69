"""A form that keeps submitted values, one that clears them, and one in a fragment. Every second field has a key."""

import json
import os
from collections.abc import Callable
from datetime import date
from itertools import cycle
from typing import Any

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

PRESSED = private_key("pressed")
DAY = date(2024, 5, 1)
COLORS = ["red", "green", "blue"]


def fields(form: str, columns: int, *, keyed: bool) -> dict[str, Any]:
    """Show a field of each type. Every second field has a key, the first one if `keyed`."""
    turns = cycle([keyed, not keyed])

    def field(make: Callable[..., Any], name: str, *arguments: Any, **options: Any) -> Any:
        return make(f"{form} {name}", *arguments, key=f"{form}_{name}" if next(turns) else None, **options)

    places = st.columns(columns)
    with places[0]:
        text = field(st.text_input, "text")
        area = field(st.text_area, "area", height=100)
        number = field(st.number_input, "number", 0, 100, 5)
        day = field(st.date_input, "date", DAY)
    with places[-1]:
        slider = field(st.slider, "slider", 0, 10, 2)
        choice = field(st.selectbox, "select", COLORS)
        several = field(st.multiselect, "multi", COLORS)
        check = field(st.checkbox, "check")
    return {
        "text": text,
        "area": area,
        "number": number,
        "date": str(day),
        "slider": slider,
        "select": choice,
        "multi": several,
        "check": check,
    }


def prefill() -> None:
    st.session_state["keep_text"] = "from a template"
    st.session_state["clear_select"] = "blue"


crdt_sync(st.query_params.get("room", "forms"), server=os.environ.get("CRDT_SERVER"))
st.session_state.setdefault(PRESSED, [])

top = st.container(horizontal=True)
top.toggle("outside")
top.button("rerun")
top.button("prefill", on_click=prefill)

with st.form("keep"):
    keep = fields("keep", 2, keyed=True)
    with st.container(horizontal=True):
        for label in ("Save", "Save and close"):
            if st.form_submit_button(label):
                st.session_state[PRESSED] += [label]

with st.sidebar, st.form("clear", clear_on_submit=True):
    clear = fields("clear", 1, keyed=False)
    if st.form_submit_button("Send ✉️"):
        st.session_state[PRESSED] += ["Send"]


@st.fragment
def ask() -> None:
    with st.form("ask", clear_on_submit=True):
        question = st.text_input("question")
        urgency = st.slider("urgency", 0, 5, key="urgency")
        st.form_submit_button("Ask")
    st.button("again")
    with st.container(key="asked"):
        st.text(json.dumps({"question": question, "urgency": urgency}))


ask()

with st.container(key="state"):
    st.text(json.dumps({"keep": keep, "clear": clear, "pressed": st.session_state[PRESSED]}))
