"""The cases with streamlit-server-state: as its examples do, a widget gets its value from the state and returns it."""

import streamlit as st
from cases import count_run, run
from streamlit_server_state import server_state, server_state_lock

count_run()


class Library:
    state = server_state

    def private(self, name):
        return name

    def text(self, label):
        return self._widget(st.text_input, label, label, "")

    def area(self, label):
        return self._widget(st.text_area, label, label, "")

    def field(self, label):
        return st.text_input(label)

    def choices(self, label, options):
        return self._widget(lambda chosen: st.multiselect(label, options, chosen), label, None, [])

    def add_one(self, name):
        with server_state_lock[name]:
            server_state[name] += 1

    def _widget(self, draw, name, label, default):
        with server_state_lock[name]:
            if name not in server_state:
                server_state[name] = default
            shown = server_state[name]
            server_state[name] = draw(shown) if label is None else draw(label, shown)
            return server_state[name]


run(Library())
