"""The cases with streamlit-sync 0.1.0."""

import streamlit as st
import streamlit_sync
from cases import count_run, is_outside, run, show
from streamlit_sync.synced_state import get_existing_room_names, get_synced_state

count_run()


class Library:
    state = st.session_state
    private = staticmethod(streamlit_sync.get_not_synced_key)

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
    # The number beside the room's name in its select_room_widget().
    show(sum(get_synced_state(name).nb_active_sessions for name in get_existing_room_names()))
else:
    with streamlit_sync.sync("room"):
        run(Library())
