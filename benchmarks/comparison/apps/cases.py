"""The same apps for every library. The three files beside this one contain the sharing of each library.

Streamlit 1.8 must be able to run them. Each case prints its session's values as `SHOWN <json>`. Each run writes a line
to stdout, so that runs can be counted.
"""

import json
import os
import time

import pandas as pd
import streamlit as st

OPTIONS = [f"{side}{number}" for number in range(60) for side in "ab"]
NOTHING = {"none": None, "false": False, "zero": 0, "empty": ""}
WORK_S = 0.1


def is_outside():
    """Return True if this page counts the participants without being one."""
    parameters = st.query_params if hasattr(st, "query_params") else st.experimental_get_query_params()
    return "outside" in parameters


def show(value):
    st.text("SHOWN " + json.dumps(value))


def count_run():
    print("RUN", flush=True)


def widgets(library):
    show([library.text("Left"), library.text("Right")])


def text(library):
    show(library.area("Note"))


def choices(library):
    show(library.choices("Picked", OPTIONS))


def counter(library):
    state = library.state
    if "count" not in state:
        state["count"] = 0
    if st.button("Count"):
        library.add_one("count")
    show(state["count"])


def swallowed(library):
    """Work for a moment above the button, as a real script does."""
    right = library.text("Right")
    time.sleep(WORK_S)
    mine = library.private("mine")
    if mine not in st.session_state:
        st.session_state[mine] = 0
    if st.button("Mine"):
        st.session_state[mine] += 1
    show([right, st.session_state[mine]])


def kept(library):
    left, right = library.text("Left"), library.text("Right")
    if st.button("Assign"):
        library.state["value"] = 42
    show([left, right, library.state.get("value")])


def nothing(library):
    state = library.state
    if st.button("Assign"):
        for name, value in NOTHING.items():
            state[name] = value
        state["last"] = 1
    seen = [name for name, value in NOTHING.items() if name in state and state[name] == value]
    show([seen, "last" in state])


def deleted(library):
    state = library.state
    if st.button("Assign"):
        state["value"] = 1
    if st.button("Delete"):
        del state["value"]
    show("value" in state)


def frame(library):
    state = library.state
    if st.button("Assign"):
        state["frame"] = pd.DataFrame({"a": [1, 2]})
    show(int(state["frame"]["a"].sum()) if "frame" in state else None)


def volatile(library):
    library.state["now"] = time.time()
    show(True)


def form(library):
    with st.form("wish", clear_on_submit=True):
        wish = library.field("Wish")
        if st.form_submit_button("Submit"):
            library.state["sent"] = wish
    show(library.state.get("sent"))


def people(library):
    show(True)


def run(library):
    """Run the case of this process.

    It is an environment variable, because streamlit-sync reruns other sessions without their query parameters.
    """
    CASES[os.environ["COMPARISON_CASE"]](library)


CASES = {
    case.__name__: case
    for case in (
        widgets, text, choices, counter, swallowed, kept, nothing, deleted, frame, volatile, form, people
    )
}  # fmt: skip
