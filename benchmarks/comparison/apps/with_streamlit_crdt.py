"""The cases with streamlit-crdt."""

import streamlit as st
from cases import count_run, is_outside, run, show

from streamlit_crdt import crdt_sync, private_key

count_run()


class Library:
    state = st.session_state
    private = staticmethod(private_key)

    def text(self, label):
        return st.text_input(label)

    field = text

    def area(self, label):
        return st.text_area(label)

    def choices(self, label, options):
        return st.multiselect(label, options)

    def add_one(self, name):
        st.session_state[name] += 1


if is_outside():
    from streamlit_crdt import rooms

    show(sum(listed.people for listed in rooms.list_rooms() if listed.name == "room"))
else:
    with crdt_sync("room", merge={"count": "counter"}):
        run(Library())
